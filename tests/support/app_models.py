"""Small engines and photos for tests of the app."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import xai_core as xai
from support.models import SmallCNN, fused_vit, settled
from xai_core.data.pixels import to_pil

HOSTILE = "<img src=x onerror=\"document.title='attacked'\">"
"""The name of a class that would run a script if it were not shown as text."""


def preprocess(image: Image.Image | Tensor) -> Tensor:
    if isinstance(image, Tensor):
        return image[:, :32, :32] * 2 - 1
    return torch.from_numpy(np.array(image.resize((32, 32)), dtype=np.float32) / 127.5 - 1).permute(2, 0, 1)


def cnn_engine() -> xai.Engine:
    """A CNN, all of whose classes have hostile names."""
    torch.manual_seed(0)
    model = settled(SmallCNN())
    names = [f"{HOSTILE} {number}" for number in range(model(torch.rand(1, 3, 32, 32)).shape[1])]
    return xai.Engine(xai.LoadedModel(model, preprocess, names, lambda image: image / 2 + 0.5))


def vit_engine() -> xai.Engine:
    """A transformer, whose classes have no names."""
    torch.manual_seed(0)
    return xai.Engine(xai.LoadedModel(settled(fused_vit()), preprocess, restore=lambda image: image / 2 + 0.5))


def detector_engine() -> xai.Engine:
    """A detector for images of 128x128 pixels."""
    return xai.Engine(xai.load_model("shapes-detector:size=128"))


def segmenter_engine() -> xai.Engine:
    """A segmentation model for images of 64x64 pixels."""
    return xai.Engine(xai.load_model("shapes-unet"))


def text_engine() -> xai.Engine:
    """A model that compares images of 64x64 pixels with texts."""
    return xai.Engine(xai.load_model("shapes-clip"))


def saved_scene(folder: Path, *indices: int) -> Path:
    """Save a photo of 256x256 pixels with four objects of `shapes`."""
    samples = xai.load_dataset("shapes:split=test")
    four = [samples[index].image for index in indices]
    scene = torch.cat([torch.cat(four[:2], 2), torch.cat(four[2:], 2)], 1)
    path = folder / "scene.png"
    to_pil(scene).resize((256, 256), Image.Resampling.NEAREST).save(path)
    return path


def saved_photo(folder: Path) -> Path:
    path = folder / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(path)
    return path
