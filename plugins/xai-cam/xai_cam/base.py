"""Base class of class activation maps."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Features, Layer, Relevance, normalize, resize

Layers = Layer | Sequence[Layer] | None
"""One layer, a list of layers, several names joined by plus signs (`"layer3+layer4"`), or None for the default."""


class CAM(xai.Explainer):
    """Class activation map: the rectified sum of weighted channels, at one layer or at several.

    A method implements `channels`, or `map` if its map is not such a sum. The maps of several layers are normalized to
    [0,1], resized to the highest resolution among them and averaged.

    Parameters
    ----------
    layer
        Module name, module, or a list of them. Default: the last features before pooling, which the adapter finds.
    """

    volumes = True
    gradients: ClassVar[bool] = True
    rectified: ClassVar[bool] = True

    def __init__(self, layer: Layers = None) -> None:
        self.layer = layer

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request the activations of the layers, and their gradients if the method uses gradients."""
        return xai.Needs(activations=selected_layers(self.layer, adapter), gradients=self.gradients)

    def layers(self, adapter: xai.ModelAdapter) -> list[str]:
        """Return the names of the layers at which maps are computed."""
        return [adapter.layer_name(layer) for layer in self.needs(adapter).activations]

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B *grid"] | Relevance:
        """Compute the map of each layer and combine the maps."""
        return fuse([self.map(captured, layer) for layer in captured.layers])

    def map(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B *grid"]:
        """Sum the weighted channels and rectify the sum."""
        total = self.channels(captured, layer).sum(1)
        return total.relu() if self.rectified else total

    @abstractmethod
    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K *grid"]:
        """Return the weighted channels of a layer, whose sum is the map before its ReLU."""


def selected_layers(layer: Layers, adapter: xai.ModelAdapter) -> tuple[Layer, ...]:
    """Return the layers that a `layer` option refers to."""
    if layer is None:
        return (adapter.default_layer,)
    if isinstance(layer, str):
        return tuple(layer.split("+"))
    return tuple(layer) if isinstance(layer, Sequence) else (layer,)


def before_the_last(layers: Sequence[str], adapter: xai.ModelAdapter) -> list[Features]:
    """Return the features of the layers, without the last features, after which almost nothing runs."""
    last = adapter.probe.last
    return [adapter.features(layer) for layer in layers if last is None or layer != last.layer]


def spatial_dims(channels: Float[Tensor, "B K *grid"]) -> tuple[int, ...]:
    """Return the spatial dimensions: rows and columns, and the depth or time of volumes."""
    return tuple(range(2, channels.ndim))


def weighted(weights: Float[Tensor, "B K"], channels: Float[Tensor, "B K *grid"]) -> Float[Tensor, "B K *grid"]:
    """Multiply each channel by its weight."""
    return weights.view(*weights.shape, *[1] * (channels.ndim - 2)) * channels


COMBINATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda maps: maps.mean(0),
    "max": lambda maps: maps.amax(0),
    "product": lambda maps: maps.prod(0),
}


def fuse(maps: Sequence[Float[Tensor, "B ..."]], how: str = "mean") -> Float[Tensor, "B *grid"]:
    """Combine several maps into one.

    A single map is returned unchanged. Several maps are normalized to [0,1] and resized to the highest resolution among
    them. The result is their `mean`, their `max` or their `product`.
    """
    if len(maps) == 1:
        return maps[0]
    size = max(tuple(map_.shape[1:]) for map_ in maps)
    stacked = torch.stack([resize(normalize(map_), size) for map_ in maps])
    return COMBINATIONS[how](stacked)
