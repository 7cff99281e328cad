"""Strange models of feature maps: how modules compute them, return them and pass them on."""

from collections.abc import Callable

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from support.strange import Places, Strange, maps, stage


class Pooled(nn.Module):
    """A head on the mean over places; subclasses compute the features."""

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        self.head = nn.Linear(channels, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images).mean((2, 3)))


class Backbone(nn.Module):
    """Returns its encoder's features, and what it pools from them itself, as Hugging Face's ResNet does."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(stage(3, 8, 4), stage(8, 16, 2))
        self.pooler = nn.AdaptiveAvgPool2d(1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.encoder(images)
        return features, self.pooler(features)


class SameTensor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = Backbone(), nn.Linear(16, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images)[1].flatten(1))


class Stages(nn.ModuleList):
    """Returns the outputs of all its stages, each made from the one before."""

    def __init__(self) -> None:
        super().__init__([stage(3, 16, 8), stage(16, 16), stage(16, 16)])

    def forward(self, images: Tensor) -> list[Tensor]:
        outputs = []
        for module in self:
            images = module(images)
            outputs.append(images)
        return outputs


class ReadsStages(Pooled):
    """Reads some stages of a container."""

    def __init__(self, read: slice) -> None:
        super().__init__()
        self.stages, self.read = Stages(), read

    def features(self, images: Tensor) -> Tensor:
        return sum(self.stages(images)[self.read])


class Pyramid(nn.Module):
    """Returns fine and coarse features under names."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = stage(3, 16, 4), stage(16, 16, 2)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        fine = self.fine(images)
        return {"fine": fine, "coarse": self.coarse(fine)}


class SecondTensor(Pooled):
    """Reads the second tensor that a module returns."""

    def __init__(self) -> None:
        super().__init__()
        self.pyramid = Pyramid()

    def features(self, images: Tensor) -> Tensor:
        return self.pyramid(images)["coarse"]


class Halves(nn.Module):
    """Returns the two halves of its channels, which one operation makes."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return x.chunk(2, 1)


class SecondHalf(Pooled):
    """Reads one of two tensors that one operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.halves = stage(3, 32, 8), Halves()

    def features(self, images: Tensor) -> Tensor:
        return self.halves(self.stem(images))[1]


class Frozen(Pooled):
    """The first stage runs without gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen, self.last = stage(3, 16, 8), stage(16, 16)

    def features(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            x = self.frozen(images)
        return self.last(x)


class Repeated(Pooled):
    """Runs one layer several times."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = stage(3, 16, 8)
        self.cell = nn.Conv2d(16, 16, 3, 1, 1)

    def features(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        for _ in range(3):
            x = x + self.cell(F.relu(x))
        return self.cell(x.relu_())


class Siamese(nn.Module):
    """Compares two pictures with one encoder, the image first or second."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(stage(3, 16, 8), stage(16, 16))
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.head(self.encoder(x).mean((2, 3)) * self.encoder(y).mean((2, 3)))


REFERENCE = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(7))


class Keeps(nn.Module):
    """Keeps its features in an attribute, and returns them too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = stage(3, 16, 8)

    def forward(self, images: Tensor) -> Tensor:
        self.kept = self.conv(images)
        return self.kept


class ReadsAttribute(Pooled):
    """Runs a module for an attribute that it sets."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = Keeps()

    def features(self, images: Tensor) -> Tensor:
        self.trunk(images)
        return self.trunk.kept


class FeaturesOnly(Pooled):
    """A head on the last stage of a `features_only` backbone."""

    def __init__(self, name: str, channels: int) -> None:
        super().__init__(channels)
        self.backbone = timm.create_model(name, features_only=True)

    def features(self, images: Tensor) -> Tensor:
        return self.backbone(images)[-1]


class Parametrized(nn.Module):
    """Convolutions with a weight norm or a spectral norm. The last one's weight has the size of its input map."""

    def __init__(self, norm: Callable[[nn.Module], nn.Module]) -> None:
        super().__init__()
        self.stem = stage(3, 16, 8)
        self.conv = norm(nn.Conv2d(16, 16, 3, 1, 1))
        self.one = norm(nn.Conv2d(16, 1, 4))
        self.head = nn.Linear(1, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.one(F.relu(self.conv(self.stem(images)))).flatten(1))


class Tasks(nn.Module):
    """Two heads, each after a branch of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = stage(3, 16, 8)
        self.color, self.shape = stage(16, 16), stage(16, 16)
        self.color_head, self.shape_head = nn.Linear(16, 5), nn.Linear(16, 3)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = self.trunk(images)
        shape = self.shape_head(self.shape(x).mean((2, 3)))
        return {"shape": shape, "color": self.color_head(self.color(x).mean((2, 3)))}


def names(*modules: str, places: Places) -> dict[str, Places]:
    return dict.fromkeys(modules, places)


FEATURES: dict[str, Strange] = {
    "several modules return one tensor": Strange(
        SameTensor, names("backbone.encoder", "backbone.encoder.1", "backbone.encoder.1.2", places=maps())
    ),
    "last of a list of stages": Strange(
        lambda: ReadsStages(slice(-1, None)), names("stages", "stages.2", "stages.2.2", places=maps())
    ),
    "all of a list of stages": Strange(  # the last stage is a branch of the path, the first is the path
        lambda: ReadsStages(slice(None)),
        names("stages.0", "stages.0.2", "stages", "stages.2", "stages.2.2", places=maps()),
    ),
    "second tensor of a module": Strange(
        SecondTensor, names("pyramid", "pyramid.coarse", "pyramid.coarse.2", places=maps())
    ),
    "one of two halves": Strange(SecondHalf, names("halves", places=maps())),
    "first stage without gradients": Strange(Frozen, names("last", "last.2", places=maps())),
    "layer that runs several times": Strange(Repeated, names("cell@3", places=maps())),
    "siamese, image first": Strange(
        Siamese,
        names("encoder@0", "encoder.1@0", "encoder.1.2@0", places=maps()),
        forward=lambda model, images: model(images, REFERENCE),
    ),
    "siamese, image second": Strange(
        Siamese,
        names("encoder@1", "encoder.1@1", "encoder.1.2@1", places=maps()),
        forward=lambda model, images: model(REFERENCE, images),
    ),
    "output read from an attribute": Strange(
        ReadsAttribute, names("trunk.conv", "trunk.conv.2", places=maps())
    ),
    "timm features_only": Strange(
        lambda: FeaturesOnly("test_resnet", 96),
        names("backbone", "backbone.layer4", "backbone.layer4.0", "backbone.layer4.0.act2", places=maps(2, 3)),
        size=(64, 96),
    ),
    "weight norm": Strange(lambda: Parametrized(weight_norm), names("conv", places=maps())),
    "spectral norm": Strange(lambda: Parametrized(spectral_norm), names("conv", places=maps())),
    "first of two heads": Strange(
        Tasks, names("shape", "shape.2", places=maps()), target=lambda output: output["shape"][:, 1]
    ),
    "second of two heads": Strange(
        Tasks, names("color", "color.2", places=maps()), target=lambda output: output["color"][:, 1]
    ),
    "both of two heads": Strange(
        Tasks,
        names("trunk", "trunk.2", places=maps()),
        target=lambda output: output["color"][:, 1] + output["shape"][:, 1],
    ),
}  # fmt: skip
