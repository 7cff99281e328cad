"""Layouts of layer outputs: feature maps and tokens."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

Layer = str | int | nn.Module
"""A layer: its module name (an integer stands for a name such as `7`), or the module itself."""
Size = tuple[int, int]
"""Height and width."""


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
        NCHW or NHWC for feature maps, NLC or LNC for tokens.
    grid
        The (h, w) of the cells.
    channels
        The number of channels of each cell.
    elements
        The index of the element of each cell, in row-major order. Default: 0 to h * w - 1.
    count
        The number of all elements, including elements without a location. Default: h * w.
    is_input
        Whether this is the layout of the layer's input instead of its output.
    """

    layer: str
    layout: str
    grid: Size
    channels: int
    elements: tuple[int, ...] = ()
    count: int = 0
    is_input: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "elements", self.elements or tuple(range(self.cells)))
        object.__setattr__(self, "count", self.count or self.cells)

    @property
    def cells(self) -> int:
        """The number of cells of the grid."""
        return math.prod(self.grid)

    @property
    def is_sequence(self) -> bool:
        """Whether the output consists of tokens instead of a feature map."""
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


def to_elements(tensor: Tensor, layout: str) -> Float[Tensor, "B n K"]:
    """Return a layer's output as elements with channels."""
    match layout:
        case "NCHW":
            return tensor.flatten(2).transpose(1, 2)
        case "NHWC":
            return tensor.flatten(1, 2)
        case "LNC":
            return tensor.transpose(0, 1)
    return tensor


def from_elements(elements: Float[Tensor, "B n K"], layout: str, shape: tuple[int, ...]) -> Tensor:
    """Return elements with channels in the layout and shape of a layer's output."""
    match layout:
        case "NCHW":
            return elements.transpose(1, 2).reshape(shape)
        case "NHWC":
            return elements.reshape(shape)
        case "LNC":
            return elements.transpose(0, 1)
    return elements


def cells(elements: Float[Tensor, "B n K"], features: Features) -> Float[Tensor, "B cells K"]:
    """Return the elements of the cells, in row-major order."""
    if features.start is not None:
        return elements[:, features.start : features.start + features.cells]
    return elements[:, torch.tensor(features.elements, device=elements.device)]


def possible_layouts(shape: tuple[int, ...], size: Size) -> dict[str, Size | None]:
    """Return the layouts that the shape of an output for one image of `size` allows, the most likely first.

    The grid is None if the shape does not determine it.
    """
    if 0 in shape:
        return {}
    if len(shape) == 4 and shape[0] == 1:
        grids = {"NCHW": (shape[2], shape[3]), "NHWC": (shape[1], shape[2])}
        order = sorted(grids, key=lambda of: (not fits(grids[of], size), _aspect_error(grids[of], size)))
        return {layout: grids[layout] for layout in order if math.prod(grids[layout]) <= math.prod(size)}
    if len(shape) == 3:
        return {
            layout: None for layout, batch, count in (("NLC", 0, 1), ("LNC", 1, 0)) if shape[batch] == 1 < shape[count]
        }
    return {}


def may_have(shape: tuple[int, ...], count: int) -> bool:
    """Whether an output with this shape for one image may have `count` elements."""
    return (
        count in shape[:2]
        if len(shape) == 3
        else len(shape) == 4 and count in (shape[1] * shape[2], shape[2] * shape[3])
    )


def count_and_channels(shape: tuple[int, ...], layout: str) -> tuple[int, int]:
    """Return the number of elements and of channels of an output with this shape for one image."""
    channels = shape[1] if layout == "NCHW" else shape[-1]
    return math.prod(shape) // channels, channels


def fits(grid: Size, size: Size) -> bool:
    """Whether the same stride on both axes can result in this grid, with up to one cell of padding."""
    (h, w), (height, width) = grid, size
    if not (0 < h <= height and 0 < w <= width):
        return False
    low = max(height / (h + 1), width / (w + 1))
    high = min(height / (h - 1) if h > 1 else math.inf, width / (w - 1) if w > 1 else math.inf)
    return low < high


def _aspect_error(grid: Size, size: Size) -> float:
    return abs(math.log(grid[0] * size[1] / (grid[1] * size[0])))
