"""Features: outputs of layers read as places in the image, from their shapes alone."""

import math
from dataclasses import dataclass

from torch import Tensor, nn

Layer = str | int | nn.Module
"""A layer by module name (an integer stands for a name such as `7`) or the module itself."""
Size = tuple[int, int]
MOST_PREFIX_TOKENS = 16


@dataclass(frozen=True)
class Features:
    """The output of a layer, as a place in the image: `grid` (h, w) in the layout `layout`.

    `layout` is NCHW or NHWC for feature maps, and NLC or LNC for tokens, of which `prefix` come before those of the
    grid. Each place has `channels` numbers. Where `given` is true, it is what the layer is given, and not its output.
    """

    layer: str
    layout: str
    grid: Size
    channels: int
    prefix: int = 0
    given: bool = False

    @property
    def places(self) -> int:
        """How many places of the image there are."""
        return math.prod(self.grid)

    @property
    def tokens(self) -> int:
        """How many tokens there are, those of the prefix too."""
        return self.places + self.prefix

    @property
    def sequence(self) -> bool:
        """Whether these are tokens and not a map."""
        return self.layout in ("NLC", "LNC")


def features_of(tensor: Tensor, size: Size, layer: str, grids: tuple[Size, ...] = ()) -> Features | None:
    """Read the output of a layer for one image of `size` as spatial features, or None where it is not spatial.

    `grids` were seen before in this model; they decide where the count of tokens alone leaves a choice.
    """
    if tensor.ndim == 4 and tensor.shape[0] == 1:
        first, second, third = tensor.shape[1:]
        layouts = {"NCHW": (second, third), "NHWC": (first, second)}
        fitting = {layout: grid for layout, grid in layouts.items() if _fits(grid, size)}
        if fitting:
            layout = min(fitting, key=lambda layout: _misfit(fitting[layout], size))
            return Features(layer, layout, fitting[layout], first if layout == "NCHW" else third)
    if tensor.ndim == 3 and 1 in tensor.shape[:2]:
        layout, count = ("NLC", tensor.shape[1]) if tensor.shape[0] == 1 else ("LNC", tensor.shape[0])
        found = token_grid(count, size, grids)
        if found is not None:
            grid, prefix = found
            return Features(layer, layout, grid, tensor.shape[2], prefix)
    return None


def token_grid(tokens: int, size: Size, grids: tuple[Size, ...] = ()) -> tuple[Size, int] | None:
    """Find the (h, w) and the count of prefix tokens of a sequence: grids seen before, else square patches."""
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


def _misfit(grid: Size, size: Size) -> float:
    return abs(math.log(grid[0] * size[1] / (grid[1] * size[0])))
