"""Strange models whose last sequences have no places: queries, time steps, text; and outputs that are no scores."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from support.strange import Block, Places, Strange, maps, raster, stage


class CrossAttention(nn.Module):
    """Queries that read other tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.proj = (nn.Linear(16, 16) for _ in range(4))

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        q, k, v = self.q(queries)[:, None], self.k(tokens)[:, None], self.v(tokens)[:, None]
        return self.proj(F.scaled_dot_product_attention(q, k, v)[:, 0])


class Queries(nn.Module):
    """An encoder of patches, whose memory learned queries read, as DETR's. There are as many queries as given."""

    def __init__(self, queries: int) -> None:
        super().__init__()
        self.backbone = nn.Conv2d(3, 16, 8, 8)
        self.encoder = Block()
        self.queries = nn.Parameter(torch.randn(1, queries, 16))
        self.decoder, self.norm = CrossAttention(), nn.LayerNorm(16)
        self.head = nn.Linear(16, 5)

    def forward(self, images: Tensor) -> Tensor:
        memory = self.encoder(self.backbone(images).flatten(2).mT)
        queries = self.queries.expand(len(images), -1, -1)
        return self.head(self.norm(queries + self.decoder(queries, memory)).mean(1))


class Columns(nn.Module):
    """A recurrent network over the columns of a feature map, as time steps."""

    def __init__(self, recurrent: type[nn.RNNBase]) -> None:
        super().__init__()
        self.stem = stage(3, 16, 8)
        self.recurrent = recurrent(16, 16, batch_first=True)
        self.head = nn.Linear(16, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.recurrent(self.stem(images).mean(2).mT)[0][:, -1])


class PixelColumns(nn.Module):
    """A recurrent network over the columns of the image: no tensor has places in two dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.head = nn.GRU(96, 16, batch_first=True), nn.Linear(16, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.recurrent(images.permute(0, 3, 1, 2).flatten(2))[0].mean(1))


class Text(nn.Module):
    """A text tower of transformer blocks, which runs after the image tower."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 16)
        self.blocks = nn.Sequential(Block(), Block())

    def forward(self, ids: Tensor) -> Tensor:
        return self.blocks(self.embedding(ids)).mean(1)


class Answers(nn.Module):
    """Answers a question of four words, which read the image by cross-attention."""

    def __init__(self) -> None:
        super().__init__()
        self.vision, self.words = stage(3, 16, 8), nn.Embedding(10, 16)
        self.reader, self.norm, self.head = CrossAttention(), nn.LayerNorm(16), nn.Linear(16, 5)

    def forward(self, images: Tensor, ids: Tensor) -> Tensor:
        words = self.words(ids).expand(len(images), -1, -1)
        return self.head(self.norm(words + self.reader(words, self.vision(images).flatten(2).mT)).mean(1))


class ZeroShot(nn.Module):
    """The similarity of images and prompts, as CLIP's."""

    def __init__(self) -> None:
        super().__init__()
        self.vision, self.text = stage(3, 16, 8), Text()

    def forward(self, images: Tensor, ids: Tensor) -> Tensor:
        return F.normalize(self.vision(images).mean((2, 3)), dim=-1) @ F.normalize(self.text(ids), dim=-1).mT


class Masked(nn.Module):
    """Shuffles and drops patches at random, also in evaluation mode, as ViTMAE."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.block, self.head = nn.Conv2d(3, 16, 8, 8), Block(), nn.Linear(16, 5)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).mT
        return self.head(self.block(tokens[:, torch.randperm(16)[:9]]).mean(1))


class Detector(nn.Module):
    """Returns boxes, scores and labels of each image, as torchvision's detectors."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.boxes = stage(3, 16, 8), nn.Linear(16, 4)

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        boxes = self.boxes(self.backbone(images).flatten(2).mT)
        return [{"boxes": of, "labels": of.argmax(1), "scores": of.amax(1)} for of in boxes]


class Bag(nn.Module):
    """One row of scores for all images together."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.head = stage(3, 16, 8), nn.Linear(16, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images).mean((2, 3)).amax(0, keepdim=True))


QUESTION = torch.tensor([[1, 2, 3, 4]])
PROMPTS = torch.tensor([[1, 2, 3, 4], [1, 2, 5, 4], [1, 6, 7, 4]])


def asking(model: nn.Module, images: Tensor) -> Tensor:
    return model(images, QUESTION)


def naming(model: nn.Module, images: Tensor) -> Tensor:
    return model(images, PROMPTS)


ENCODER = {"encoder": Places(raster(4, 4))}
STEM = dict.fromkeys(("stem", "stem.2"), maps(4, 16))
VISION = dict.fromkeys(("vision", "vision.2"), maps())

SEQUENCES: dict[str, Strange] = {
    "16 queries": Strange(lambda: Queries(16), ENCODER, rollout="queries|tokens"),
    "100 queries": Strange(
        lambda: Queries(100), {"encoder": Places(raster(5, 5))}, size=(40, 40), rollout="queries|tokens"
    ),
    "LSTM over columns": Strange(lambda: Columns(nn.LSTM), STEM, size=(32, 128)),
    "GRU over columns": Strange(lambda: Columns(nn.GRU), STEM, size=(32, 128)),
    "GRU over columns of pixels": Strange(PixelColumns, refused="spatial|places"),
    "question of four words": Strange(Answers, VISION, forward=asking),
    "zero-shot classes": Strange(ZeroShot, VISION, forward=naming),
    "random mask": Strange(Masked, refused="deterministic|random"),
    "boxes": Strange(Detector, refused="detection|boxes"),
    "bag of images": Strange(Bag, refused="one row (per|for each) image"),
}  # fmt: skip
