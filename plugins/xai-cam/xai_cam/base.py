"""What class activation maps share."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Layer, normalize, resize

Layers = Layer | Sequence[Layer] | None
"""One layer, several, `"layer3+layer4"` for several by name, or None: the last spatial features."""


class CAM(xai.Explainer):
    """A map that is the rectified sum of weighted channels, at one layer or at several.

    A method implements `channels`, or `map` where its map is not such a sum. Of several layers the maps are
    normalized to [0,1], resized to the finest grid among them and averaged.

    Parameters
    ----------
    layer
        Module name or module, or a list of them; default: the last spatial features, which the adapter finds.
    """

    gradients: ClassVar[bool] = True
    rectified: ClassVar[bool] = True

    def __init__(self, layer: Layers = None) -> None:
        self.layer = layer

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """The activations of the layers, and their gradients where the method uses them."""
        return xai.Needs(activations=chosen(self.layer, adapter), gradients=self.gradients)

    def layers(self, adapter: xai.ModelAdapter) -> list[str]:
        """The names of the layers that maps are made at."""
        return [adapter.layer_name(layer) for layer in self.needs(adapter).activations]

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B h w"]:
        """Make the map of each layer, and fuse them."""
        return fuse([self.map(captured, layer) for layer in captured.layers])

    def map(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B h w"]:
        """Sum the weighted channels, and keep what is positive."""
        summed = self.channels(captured, layer).sum(1)
        return summed.relu() if self.rectified else summed

    @abstractmethod
    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K h w"]:
        """Weigh the channels of a layer: their sum is the map before its ReLU."""


def chosen(layer: Layers, adapter: xai.ModelAdapter) -> tuple[Layer, ...]:
    """The layers that a `layer` option means."""
    if layer is None:
        return (adapter.default_layer,)
    if isinstance(layer, str):
        return tuple(layer.split("+"))
    return tuple(layer) if isinstance(layer, Sequence) else (layer,)


def fuse(maps: Sequence[Float[Tensor, "B _ _"]], how: str = "mean") -> Float[Tensor, "B h w"]:
    """One map as it is; several normalized to [0,1], resized to the finest grid, and their `mean` or `max`."""
    if len(maps) == 1:
        return maps[0]
    finest = max((one.shape[-2], one.shape[-1]) for one in maps)
    stacked = torch.stack([resize(normalize(one), finest) for one in maps])
    return stacked.mean(0) if how == "mean" else stacked.amax(0)
