"""Implements `xai list layers`: the layers of a model, found with one noise image."""

import torch

from xai_core.cli.console import console, plain, table
from xai_core.cli.loading import load
from xai_core.errors import LayerError
from xai_core.model.layer_names import NO_LAYER
from xai_core.model.layer_table import spatial_layers

_SIDE = 256


def print_layers(spec: str) -> None:
    """Print a table of the layers with spatial outputs, in order of execution. The default layer is marked with `*`.

    Raises
    ------
    LayerError
        If no layer has a spatial output.
    """
    model = load(spec, "cpu")
    noise = torch.rand(3, _SIDE, _SIDE, generator=torch.Generator().manual_seed(0))
    images = model.loaded.preprocess(noise)[None]
    layers = spatial_layers(model.engine.adapter(images))
    if not layers:
        raise LayerError(NO_LAYER)
    height, width = images.shape[-2:]
    default = next((layer.name for layer in layers if layer.is_default), None)
    caption = "The model has no default layer. "
    if default is not None:
        caption = "* marks the default layer. "
    caption += f"Select a layer with `--layer NAME`, or in a spec, as in `grad-cam:layer={default or layers[-1].name}`."
    title = f"Layers of {spec} for images of {height}x{width} pixels"
    rows = table("Layer", "Class", "Channels", "Grid", "Default", right=("Channels",), title=title, caption=caption)
    for layer in layers:
        grid = f"{layer.grid[0]}x{layer.grid[1]}"
        marked = "*" if layer.is_default else ""
        rows.add_row(*map(plain, (layer.name, layer.module, str(layer.channels), grid, marked)))
    console().print(rows)
