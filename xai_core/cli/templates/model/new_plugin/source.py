"""Models, their preprocessing and their class names."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

import xai_core as xai
from new_plugin.network import Network
from xai_core.plugin import ModelSource, UnknownModelError

if TYPE_CHECKING:
    from PIL.Image import Image

WIDTHS = {"small": 8, "wide": 32}
CLASS_NAMES = ("cat", "dog", "bird")
SIZE, MEAN, STD = 32, 0.5, 0.25


def preprocess(image: "Image | torch.Tensor") -> torch.Tensor:
    """Convert a PIL image, or a tensor [3,H,W] in [0,1], to the input of the models: [3,32,32], normalized."""
    if not isinstance(image, torch.Tensor):
        image = image.convert("RGB")
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
        image = pixels.view(image.height, image.width, 3).permute(2, 0, 1) / 255
    resized = F.interpolate(image[None].float(), (SIZE, SIZE), mode="bilinear", antialias=True)[0]
    return (resized - MEAN) / STD


def restore(images: torch.Tensor) -> torch.Tensor:
    """Invert the normalization: return colors in [0,1]."""
    return (images * STD + MEAN).clamp(0, 1)


class NewPluginModels(ModelSource):
    """Small random networks: `new-plugin:small`, `new-plugin:wide`. TODO: replace this example by your models."""

    name = "new-plugin"

    def names(self) -> Sequence[str]:
        """Return the names of the models."""
        return tuple(WIDTHS)

    def load(self, name: str | None, seed: int = 0) -> xai.LoadedModel:  # type: ignore[override] # no other options
        """Return a model. TODO: load its weights."""
        if name not in WIDTHS:
            raise UnknownModelError(f"new-plugin: expected a model among {', '.join(WIDTHS)}, got {name!r}")
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = Network(WIDTHS[name], len(CLASS_NAMES))
        return xai.LoadedModel(model.eval(), preprocess, CLASS_NAMES, restore, f"new-plugin:{name}")
