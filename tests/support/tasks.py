"""One small model of each task and model family, with a target, as `docs/tasks.md` lists them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import xai_core as xai
from support.captioners import blip, caption
from support.detectors import AnchorDetector, QueryDetector
from support.dual_encoders import DUAL_ENCODERS, TEXTS
from support.models import GatedCNN, fused_vit
from support.segmenters import mask_classifier, prompted, sam
from support.siamese import Siamese, pair
from support.volume_models import SmallCNN3d, Tubelets, two_clips


@dataclass(frozen=True)
class Task:
    """A task for models of one family.

    Attributes
    ----------
    name, family
        The headings of its column in the table.
    engine
        Returns the engine of a model with random weights.
    inputs
        What `explain` receives.
    target
        The target.
    """

    name: str
    family: str
    engine: Callable[[], xai.Engine]
    inputs: Any
    target: Any = None

    @property
    def column(self) -> str:
        """The heading of the column."""
        return f"{self.name}, {self.family}"


class FCN(nn.Module):
    """A fully convolutional network with scores of four classes for each pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        scores = self.head(self.body(images))
        return nn.functional.interpolate(scores, images.shape[2:], mode="bilinear")


def photos(size: int = 32) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def engine_of(make: Callable[[], nn.Module], **options: Any) -> Callable[[], xai.Engine]:
    """Return a function that returns the engine of a model with reproducible weights."""

    def engine() -> xai.Engine:
        torch.manual_seed(0)
        return xai.Engine(make().eval(), **options)

    return engine


def comparing(name: str) -> Callable[[], xai.Engine]:
    """Return a function that returns the engine of a model that compares images with texts."""
    encoder = DUAL_ENCODERS[name]
    return lambda: xai.Engine(encoder.build(), tokenizer=encoder.tokenizer)


REGION = torch.zeros(32, 32)
REGION[8:20, 8:20] = 1
MASKED = xai.Region(1, REGION[::2, ::2])
TASKS = [
    Task("classes", "CNN", engine_of(GatedCNN), photos()),
    Task("classes", "ViT", engine_of(fused_vit), photos()),
    Task("detection", "CNN", engine_of(AnchorDetector), photos(64)),
    Task("detection", "queries", engine_of(QueryDetector), photos(64), xai.Box(overlap=0)),
    Task("segmentation", "CNN", engine_of(FCN), photos(), xai.Region(1, REGION)),
    Task("segmentation", "Mask2Former", engine_of(lambda: mask_classifier("mask2former")), photos(64), MASKED),
    Task("segmentation", "MaskFormer", engine_of(lambda: mask_classifier("maskformer")), photos(64), MASKED),
    Task("segmentation", "SAM", engine_of(sam, forward=prompted(1)), photos(64), xai.Region(0, REGION)),
    Task("text", "CLIP with a ViT", comparing("CLIP"), photos(), xai.Text(TEXTS[0])),
    Task("text", "SigLIP", comparing("SigLIP"), photos(), xai.Text(TEXTS[0])),
    Task("words", "captioner", engine_of(blip, forward=caption), photos(), xai.Token(-1, 7)),
    Task("two inputs", "CNN", engine_of(lambda: pair(Siamese, GatedCNN())), (photos(), photos().flip(0)), 1),
    Task("two inputs", "ViT", engine_of(lambda: pair(Siamese, fused_vit())), (photos(), photos().flip(0)), 1),
    Task("volumes", "3-D CNN", engine_of(SmallCNN3d), two_clips()),
    Task("volumes", "tubelets", engine_of(Tubelets), two_clips()),
]
