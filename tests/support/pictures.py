"""Image files that are whole or broken, and models from xai-zoo that tests share."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import xai_core as xai


@pytest.fixture(scope="session")
def lite0() -> xai.LoadedModel:
    """EfficientNet-Lite0 with its trained weights; no test changes it."""
    return xai.load_model("efficientnet-lite0")


@pytest.fixture(scope="session")
def resnet18() -> nn.Module:
    """A random ResNet-18 of five classes; no test changes it."""
    import torchvision

    torch.manual_seed(0)
    return torchvision.models.resnet18(num_classes=5).eval()


@pytest.fixture
def picture() -> Image.Image:
    """A random image of 64x48 pixels."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))


def predict(loaded: xai.LoadedModel, image: Image.Image | Tensor) -> Tensor:
    with torch.no_grad():
        return loaded.model(loaded.preprocess(image)[None])[0]


def broken(kind: str, path: Path, picture: Image.Image) -> Path:
    picture.save(path)
    whole = path.read_bytes()
    content = {"truncated": whole[: len(whole) // 2], "zero-byte": b"", "text": b"not an image"}
    path.write_bytes(content.get(kind) or (whole[:20] + b"\xff" * (len(whole) - 20) if kind == "overwritten" else b""))
    return path
