"""The model that the adapter is tried on."""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

import xai_core as xai
from new_plugin.network import ColumnNetwork
from xai_core.errors import UnknownModelError
from xai_core.plugin import ModelSource

if TYPE_CHECKING:
    from PIL.Image import Image


def preprocess(image: "Image | torch.Tensor") -> torch.Tensor:
    """Make of a PIL image, or of a tensor [3,H,W] in [0,1], what the model takes: [3,32,32] in [-1,1]."""
    if not isinstance(image, torch.Tensor):
        image = image.convert("RGB")
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
        image = pixels.view(image.height, image.width, 3).permute(2, 0, 1) / 255
    return F.interpolate(image[None].float(), (32, 32), mode="bilinear", antialias=True)[0] * 2 - 1


class NewPluginModel(ModelSource):
    """A random network whose tokens come column by column: `new-plugin`."""

    name = "new-plugin"

    def load(self, name: str | None) -> xai.LoadedModel:  # type: ignore[override] # no options
        """Make the network."""
        if name is not None:
            raise UnknownModelError(f"new-plugin is one model, and there is no {name!r}; expected `new-plugin`")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return xai.LoadedModel(ColumnNetwork().eval(), preprocess, spec="new-plugin")
