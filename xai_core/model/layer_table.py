"""The layers of a model: name, class, channels and grid of each, and which is the default."""

from typing import NamedTuple

from torch import nn

from xai_core.model.adapter import ModelAdapter
from xai_core.model.layouts import Size

_UNCHANGED = (nn.Identity, nn.Dropout)
"""Modules whose output is their input, in evaluation mode."""


class LayerRow(NamedTuple):
    """A layer with a spatial output.

    Attributes
    ----------
    name
        The name that the option `layer` of methods takes.
    module
        The class of its module.
    channels
        The number of channels of each cell.
    grid
        The (h, w) of the cells. For volumes, (d, h, w).
    is_default
        Whether methods use this layer by default.
    """

    name: str
    module: str
    channels: int
    grid: Size
    is_default: bool


def spatial_layers(adapter: ModelAdapter) -> list[LayerRow]:
    """Return the layers whose outputs have more than one location in the image, in order of execution.

    Layers that return their input unchanged, such as dropout, are omitted unless they are the default layer.
    """
    probe, rows = adapter.probe, []
    names = [*dict.fromkeys([*probe.spatial_layers, *([probe.default_layer] if probe.default_layer else [])])]
    for name in names:
        site = probe.site(name)
        features = None if site is None else probe.layouts.of(site)
        if site is not None and features is not None and features.cells > 1:
            module, is_default = adapter.model.get_submodule(site.layer), name == probe.default_layer
            if is_default or not isinstance(module, _UNCHANGED):
                row = LayerRow(name, type(module).__name__, features.channels, features.grid, is_default)
                rows.append(row)
    return rows
