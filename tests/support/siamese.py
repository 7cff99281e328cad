"""Small models with two image inputs or a table, and models of the same function without shared calls."""

import copy

import torch
from torch import Tensor, nn

from support.models import settled


class Siamese(nn.Module):
    """Compares two images: the same encoder runs once for each."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(5, 4)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.compare(self.encoder(left), self.encoder(right))

    def compare(self, left: Tensor, right: Tensor) -> Tensor:
        return self.head((left - right).abs())


class Twins(Siamese):
    """The same function with a copy of the encoder for the right image, so that no layer runs twice."""

    def __init__(self, siamese: Siamese) -> None:
        super().__init__(copy.deepcopy(siamese.encoder))
        self.other = copy.deepcopy(siamese.encoder)
        self.head.load_state_dict(siamese.head.state_dict())
        self.eval()

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.compare(self.encoder(left), self.other(right))


class RightFirst(Siamese):
    """Encodes the right image first, so that the last call of each layer is made from the left image."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        right = self.encoder(right)
        return self.compare(self.encoder(left), right)


class Stacked(nn.Module):
    """Detects changes: both images are the channels of one image."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.merge, self.encoder = nn.Conv2d(6, 3, 1), encoder

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        return self.encoder(self.merge(torch.cat([before, after], 1)))


class Joined(Siamese):
    """Passes both images through the encoder as one batch."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.compare(*self.encoder(torch.cat([left, right])).chunk(2))


class WithTable(nn.Module):
    """Scores from an image and a row of a table, which may contain counts."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.table = encoder, nn.Linear(3, 5)

    def forward(self, image: Tensor, row: Tensor) -> Tensor:
        return self.encoder(image) * self.table(row.to(image.dtype))


def pair(make: type[nn.Module], encoder: nn.Module) -> nn.Module:
    """A random model of a class around an encoder, in evaluation mode."""
    return settled(make(encoder))
