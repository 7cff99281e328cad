"""Layouts of layer outputs: feature maps and tokens."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

Layer = str | int | nn.Module
"""A layer: its module name (an integer stands for a name such as `7`), or the module itself."""
Size = tuple[int, ...]
"""The (H, W) of an image or a grid. For volumes, (D, H, W)."""
MOST_CELLS = 4096
"""The number of cells of a feature map above which their locations are measured on a coarser grid."""
COARSE_SIDE = 16
"""The number of cells on each axis of a coarser grid."""
SAME_ASPECT = 0.1
"""The difference up to which two aspect ratios are the same, as the logarithm of their ratio."""


@dataclass(frozen=True)
class Features:
    """The layout of a layer's output whose cells correspond to regions of the image.

    The elements of the output are its tokens, or the positions of a feature map in row-major order. Some elements, such
    as a class token, may have no location in the image.

    Attributes
    ----------
    layer
        The module name.
    layout
        NCHW or NHWC for feature maps, NLC or LNC for tokens. For volumes also NCDHW and NDHWC. If a model folds frames
        into the batch, the first dimension is (ND), or (DN) if the first frames of all clips come first.
    grid
        The (h, w) of the cells. For volumes, (d, h, w).
    channels
        The number of channels of each cell.
    elements
        The index of the element of each cell, in row-major order. Default: 0 to the number of cells - 1.
    count
        The number of all elements, including elements without a location. Default: the number of cells.
    is_input
        Whether this is the layout of the layer's input instead of its output.
    call
        For a transformer block, the index of the call that computes it from the images, from 0.
    """

    layer: str
    layout: str
    grid: Size
    channels: int
    elements: tuple[int, ...] = ()
    count: int = 0
    is_input: bool = False
    call: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "elements", self.elements or tuple(range(self.cells)))
        object.__setattr__(self, "count", self.count or self.cells)

    @property
    def cells(self) -> int:
        """The number of cells of the grid."""
        return math.prod(self.grid)

    @property
    def is_sequence(self) -> bool:
        """Return whether the output consists of one sequence of tokens per image instead of a feature map."""
        return self.layout in ("NLC", "LNC")

    @property
    def batch_dim(self) -> int:
        """The dimension of the images."""
        return 1 if self.layout == "LNC" else 0

    @property
    def start(self) -> int | None:
        """The index of the first cell's element, if the elements of all cells follow one another, or None."""
        first = self.elements[0]
        return first if self.elements == tuple(range(first, first + self.cells)) else None


def is_folded(layout: str) -> bool:
    """Return whether the first dimension contains images and frames."""
    return layout.startswith("(")


def is_channels_first(layout: str) -> bool:
    """Return whether this is the layout of a feature map whose channels come before its spatial dimensions."""
    return layout.endswith("HW")


def by_image(tensor: Tensor, layout: str, count: int) -> Tensor:
    """Return a layer's output with the images as the first dimension, for images with `count` elements."""
    if layout == "LNC":
        return tensor.transpose(0, 1)
    if not is_folded(layout):
        return tensor
    frames = count // count_and_channels((1, *tensor.shape[1:]), layout)[0]
    if layout.startswith("(ND)"):
        return tensor.unflatten(0, (-1, frames))
    return tensor.unflatten(0, (frames, -1)).transpose(0, 1)


def as_output(images: Tensor, layout: str) -> Tensor:
    """Return the inverse of `by_image`."""
    if layout == "LNC":
        return images.transpose(0, 1)
    if not is_folded(layout):
        return images
    return (images if layout.startswith("(ND)") else images.transpose(0, 1)).flatten(0, 1)


def to_elements(tensor: Tensor, layout: str, count: int) -> Shaped[Tensor, "B n K"]:
    """Return a layer's output as elements with channels, for images with `count` elements."""
    images = by_image(tensor, layout, count)
    if is_channels_first(layout):
        frames = images.movedim(2, 1) if is_folded(layout) else images
        return frames.flatten(2).transpose(1, 2)
    return images.flatten(1, -2)


def from_elements(elements: Float[Tensor, "B n K"], layout: str, shape: tuple[int, ...]) -> Tensor:
    """Return elements with channels in the layout and shape of a layer's output."""
    if is_folded(layout):
        of_frame = shape[1:]
        frames = elements.shape[1] // count_and_channels((1, *of_frame), layout)[0]
        images = elements.unflatten(1, (frames, -1))
        images = images.transpose(2, 3) if is_channels_first(layout) else images
        return as_output(images.reshape(len(elements), frames, *of_frame), layout)
    if is_channels_first(layout):
        return elements.transpose(1, 2).reshape(shape)
    return as_output(elements, layout) if layout == "LNC" else elements.reshape(shape)


def cells(elements: Float[Tensor, "B n K"], features: Features) -> Float[Tensor, "B cells K"]:
    """Return the elements of the cells, in row-major order."""
    if features.start is not None:
        return elements[:, features.start : features.start + features.cells]
    return elements[:, torch.tensor(features.elements, device=elements.device)]


def possible_layouts(shape: tuple[int, ...], size: Size) -> dict[str, Size | None]:
    """Return the layouts that the shape of an output for one image of `size` allows, the most likely first.

    The grid is None if the shape does not determine it. Frames that are folded into the batch are (ND), until
    `frame_orders` determines their order.
    """
    if 0 in shape:
        return {}
    if len(shape) == len(size) + 2 and shape[0] == 1:
        first, last = ("NCHW", "NHWC") if len(size) == 2 else ("NCDHW", "NDHWC")
        grids = {first: shape[2:], last: shape[1:-1]}
        order = sorted(grids, key=lambda of: (not fits(grids[of], size), _aspect_error(grids[of], size)))
        return {layout: grids[layout] for layout in order if _is_possible(grids[layout], size)}
    if len(size) == 3 and 1 < shape[0] <= size[0] and (len(shape) == 4 or (len(shape) == 3 and shape[1] > 1)):
        return _folded_layouts(shape, size)
    if len(shape) == 3:
        return {
            layout: None for layout, batch, count in (("NLC", 0, 1), ("LNC", 1, 0)) if shape[batch] == 1 < shape[count]
        }
    return {}


def _folded_layouts(shape: tuple[int, ...], size: Size) -> dict[str, Size | None]:
    """Return the layouts of an output whose first dimension contains the frames of one clip."""
    if len(shape) == 3:
        return {"(ND)LC": None}
    grids = {"(ND)CHW": (shape[0], *shape[2:]), "(ND)HWC": shape[:3]}
    order = sorted(grids, key=lambda of: (not fits(grids[of], size), _aspect_error(grids[of], size)))
    return {layout: grids[layout] for layout in order if _is_possible(grids[layout], size)}


def spatial_grid(shape: tuple[int, ...], layout: str) -> Size | None:
    """Return the grid of a feature map for one image, or None for tokens."""
    if "W" not in layout:
        return None
    first = shape[:1] if is_folded(layout) else ()
    return first + (shape[2:] if is_channels_first(layout) else shape[1:-1])


def _is_possible(grid: Size, size: Size) -> bool:
    """Return whether a grid has fewer cells than the image has pixels, or the model may have enlarged the image."""
    return math.prod(grid) <= math.prod(size) or _aspect_error(grid, size) < SAME_ASPECT


def is_large(grid: Size | None) -> bool:
    """Return whether the locations of a map are measured on a coarser grid."""
    return grid is not None and math.prod(grid) > MOST_CELLS


def measured_grid(grid: Size) -> Size:
    """Return the grid on which the locations of a map are measured: its own, or a coarser one for a large map."""
    return tuple(min(side, COARSE_SIDE) for side in grid) if is_large(grid) else grid


def may_have(shape: tuple[int, ...], count: int) -> bool:
    """Return whether an output with this shape for one image may have `count` elements."""
    channels = {shape[-1], shape[1]} if len(shape) > 3 else {shape[-1]}
    return len(shape) >= 3 and any(count * number == math.prod(shape) for number in channels)


def count_and_channels(shape: tuple[int, ...], layout: str) -> tuple[int, int]:
    """Return the number of elements and of channels of an output with this shape for one image."""
    channels = shape[1] if is_channels_first(layout) else shape[-1]
    return math.prod(shape) // channels, channels


def fits(grid: Size, size: Size) -> bool:
    """Return whether the same stride on both axes can result in this grid, with up to one cell of padding.

    The stride between the frames or slices of volumes may differ.
    """
    (*_, h, w), (*_, height, width) = grid, size
    if 0 in grid:
        return False
    low = max(height / (h + 1), width / (w + 1))
    high = min(height / (h - 1) if h > 1 else math.inf, width / (w - 1) if w > 1 else math.inf)
    return low < high


def _aspect_error(grid: Size, size: Size) -> float:
    return abs(math.log(grid[-2] * size[-1] / (grid[-1] * size[-2])))
