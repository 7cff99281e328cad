"""Tiny models and photos for tests of the command line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import xai_core as xai
from support.command_line import Run
from support.models import SmallCNN, fused_vit, settled
from xai_core.plugin import ModelSource
from xai_core.plugins.discovery import Plugin
from xai_core.plugins.loader import Entry
from xai_core.plugins.registry import registry

CLASSES = ("Tabby", "tiger cat", "crane", "Crane", "espresso")
TEST = Plugin("test", "test_cli", "the-tests", "1.2")


def preprocess(image: Image.Image | Tensor) -> Tensor:
    if isinstance(image, Tensor):
        return image * 2 - 1
    return torch.from_numpy(np.array(image.resize((32, 32)), dtype=np.float32) / 127.5 - 1).permute(2, 0, 1)


def own_preprocess(image: Image.Image | Tensor) -> Tensor:
    return preprocess(image)  # which tests replace


class Tiny(ModelSource):
    """Tiny random models: `tiny:cnn`, `tiny:vit`, `tiny:nameless`."""

    name = "tiny"

    def names(self) -> Sequence[str]:
        return ("cnn", "vit", "nameless")

    def load(self, name: str | None, **options: Any) -> xai.LoadedModel:
        if name == "bug":
            raise RuntimeError("a bug")
        torch.manual_seed(0)
        model = settled(fused_vit() if name == "vit" else SmallCNN())
        if isinstance(model, SmallCNN):
            nn.init.uniform_(model.head.weight)  # each class has evidence, so that no map is flat
        if name == "nameless":
            return xai.LoadedModel(model, own_preprocess)
        return xai.LoadedModel(model, own_preprocess, CLASSES, restore=lambda image: ((image + 1) / 2).clamp(0, 1))


class Flat(xai.Explainer):
    """Returns a constant map."""

    name = "flat"

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        return xai.Needs()

    def explain(self, captured: xai.Captured) -> Tensor:
        return captured.images.mean(1) * 0


def save(path: Path, seed: int = 0, size: tuple[int, int] = (40, 40)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def explain(*args: object, method: str = "grad-cam", model: str = "tiny:cnn", out: str | None = "out") -> Run:
    """Run `xai explain`."""
    return Run("explain", *args, "--model", model, "--method", method, *(("--out", out) if out else ()))


def save_photos(folder: Path) -> Path:
    """Save two photos in a folder, and return it."""
    save(folder / "cat.png", seed=0)
    save(folder / "dog.jpg", seed=1)
    return folder


def register(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the source `tiny` of models."""
    monkeypatch.setitem(registry().entries["models"], "tiny", Entry("tiny", Tiny, TEST))
