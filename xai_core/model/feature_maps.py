"""Conversion of layer outputs to feature maps, and back."""

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from xai_core.model.layouts import Features, as_output, by_image, cells, from_elements, is_folded, to_elements
from xai_core.precision import quantized_like


def to_maps(tensor: Tensor, features: Features) -> Shaped[Tensor, "B K *grid"]:
    """Return a layer's output as a feature map, without elements that have no location."""
    in_order = features.elements == tuple(range(features.count))
    if features.layout in ("NCHW", "NCDHW") and in_order:
        return tensor
    if features.layout in ("NHWC", "NDHWC") and in_order:
        return tensor.movedim(-1, 1)
    return (
        cells(to_elements(tensor, features.layout, features.count), features)
        .transpose(1, 2)
        .unflatten(2, features.grid)
    )


def with_maps(tensor: Tensor, maps: Float[Tensor, "B K *grid"], features: Features) -> Tensor:
    """Return a layer's output in which `maps` replace the values that `to_maps` returns."""
    if tensor.is_quantized:
        return quantized_like(with_maps(tensor.dequantize(), maps, features), tensor)
    of_cells = maps.to(tensor.dtype).flatten(2).transpose(1, 2)
    elements = to_elements(tensor, features.layout, features.count)
    if features.start is not None:
        before, after = elements[:, : features.start], elements[:, features.start + features.cells :]
        replaced = torch.cat([before, of_cells, after], 1)
    else:
        replaced = elements.index_copy(1, torch.tensor(features.elements, device=tensor.device), of_cells)
    return from_elements(replaced, features.layout, tensor.shape)


def of_images(tensor: Tensor, indices: Int[Tensor, " N"], features: Features) -> Tensor:
    """Return a layer's output for N images of the batch."""
    if not is_folded(features.layout):
        return tensor.index_select(features.batch_dim, indices)
    return as_output(by_image(tensor, features.layout, features.count)[indices], features.layout)
