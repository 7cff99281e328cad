"""The model that `xai plugin check` applies the adapter to."""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

import xai_core as xai
from new_plugin.network import ColumnNetwork
from xai_core.plugin import ModelSource, UnknownModelError

if TYPE_CHECKING:
    from PIL.Image import Image


def preprocess(image: "Image | torch.Tensor") -> torch.Tensor:
    """Convert a PIL image, or a tensor [3,H,W] in [0,1], to the input of the model: [3,32,32] in [-1,1]."""
    if not isinstance(image, torch.Tensor):
        image = image.convert("RGB")
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
        image = pixels.view(image.height, image.width, 3).permute(2, 0, 1) / 255
    return F.interpolate(image[None].float(), (32, 32), mode="bilinear", antialias=True)[0] * 2 - 1


class NewPluginModel(ModelSource):
    """Random network whose tokens are in column-major order: `new-plugin`."""

    name = "new-plugin"

    def load(self, name: str | None) -> xai.LoadedModel:  # type: ignore[override] # no options
        """Return the network."""
        if name is not None:
            raise UnknownModelError(f"new-plugin has a single model: expected `new-plugin`, got `new-plugin:{name}`")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return xai.LoadedModel(ColumnNetwork().eval(), preprocess, spec="new-plugin")
