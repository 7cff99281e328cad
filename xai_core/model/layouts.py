"""Layouts of layer outputs: feature maps and tokens, read from tensor shapes alone."""

import math
from dataclasses import dataclass

from torch import Tensor, nn

Layer = str | int | nn.Module
"""A layer: its module name (an integer stands for a name such as `7`), or the module itself."""
Size = tuple[int, int]
"""Height and width."""
MOST_PREFIX_TOKENS = 16


@dataclass(frozen=True)
class Features:
    """The layout of a layer's output whose cells correspond to regions of the image.

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
    prefix
        The number of tokens, such as a class token, before the tokens of the grid.
    is_input
        Whether this is the layout of the layer's input instead of its output.
    """

    layer: str
    layout: str
    grid: Size
    channels: int
    prefix: int = 0
    is_input: bool = False

    @property
    def cells(self) -> int:
        """The number of cells of the grid."""
        return math.prod(self.grid)

    @property
    def tokens(self) -> int:
        """The number of tokens, prefix tokens included."""
        return self.cells + self.prefix

    @property
    def is_sequence(self) -> bool:
        """Whether the output consists of tokens instead of a feature map."""
        return self.layout in ("NLC", "LNC")


def features_of(tensor: Tensor, size: Size, layer: str, grids: tuple[Size, ...] = ()) -> Features | None:
    """Return the layout of a layer's output for one image of `size`, or None if it is not spatial.

    `grids` are the grids of earlier layers. They decide if the number of tokens fits several grids.
    """
    if tensor.ndim == 4 and tensor.shape[0] == 1:
        first, second, third = tensor.shape[1:]
        layouts = {"NCHW": (second, third), "NHWC": (first, second)}
        fitting = {layout: grid for layout, grid in layouts.items() if _fits(grid, size)}
        if fitting:
            layout = min(fitting, key=lambda layout: _aspect_error(fitting[layout], size))
            return Features(layer, layout, fitting[layout], first if layout == "NCHW" else third)
    if tensor.ndim == 3 and 1 in tensor.shape[:2]:
        layout, count = ("NLC", tensor.shape[1]) if tensor.shape[0] == 1 else ("LNC", tensor.shape[0])
        grid_and_prefix = token_grid(count, size, grids)
        if grid_and_prefix is not None:
            grid, prefix = grid_and_prefix
            return Features(layer, layout, grid, tensor.shape[2], prefix)
    return None


def token_grid(tokens: int, size: Size, grids: tuple[Size, ...] = ()) -> tuple[Size, int] | None:
    """Return the (h, w) and the number of prefix tokens of a sequence: an earlier grid, or else square patches."""
    for grid in reversed(grids):
        if 0 <= tokens - math.prod(grid) <= MOST_PREFIX_TOKENS and math.prod(grid) > 1:
            return grid, tokens - math.prod(grid)
    height, width = size
    for prefix in range(min(MOST_PREFIX_TOKENS, tokens - 2) + 1):
        h = round(math.sqrt((tokens - prefix) * height / width))
        w = round(h * width / height)
        if h * w == tokens - prefix and height * w == width * h and height % h == 0:
            return (h, w), prefix
    return None


def _fits(grid: Size, size: Size) -> bool:
    """Whether one stride explains both sides of a grid, up to one cell of padding."""
    (h, w), (height, width) = grid, size
    if not (0 < h <= height and 0 < w <= width):
        return False
    low = max(height / (h + 1), width / (w + 1))
    high = min(height / (h - 1) if h > 1 else math.inf, width / (w - 1) if w > 1 else math.inf)
    return low < high


def _aspect_error(grid: Size, size: Size) -> float:
    return abs(math.log(grid[0] * size[1] / (grid[1] * size[0])))
