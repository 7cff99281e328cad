"""The part of a feature map that shows the image, if the model pads the image."""

import math

import numpy as np

from xai_core.model.layouts import Features, Size

Part = tuple[tuple[int, int], ...]
"""The first cell on each axis of a map, and the first cell after the part."""


def whole(grid: Size) -> Part:
    """Return all cells of a map."""
    return tuple((0, side) for side in grid)


def size_of(part: Part) -> Size:
    """Return the numbers of cells on each axis."""
    return tuple(stop - start for start, stop in part)


def same_part(part: Part, grid: Size, of: Size) -> Part:
    """Return the part of a map `of` another size that covers the same region as a part of a map."""
    ratios = [other / side for side, other in zip(grid, of, strict=True)]
    return tuple((round(start * ratio), round(stop * ratio)) for (start, stop), ratio in zip(part, ratios, strict=True))


def slices(part: Part) -> tuple[slice, ...]:
    """Return the slices that select a part of a map."""
    return tuple(slice(start, stop) for start, stop in part)


def indices(part: Part, grid: Size) -> tuple[int, ...]:
    """Return the indices of the elements of a part, in row-major order, or an empty tuple for the whole map."""
    if part == whole(grid):
        return ()
    return tuple(np.arange(math.prod(grid)).reshape(grid)[slices(part)].ravel().tolist())


def part_in(features: Features, grid: Size) -> Part | None:
    """Return the part of a map whose cells are in image order, or None if the cells are in another order."""
    corners = np.unravel_index([features.elements[0], features.elements[-1]], grid)
    part = tuple((int(first), int(last) + 1) for first, last in corners)
    in_order = size_of(part) == features.grid and (indices(part, grid) or tuple(range(math.prod(grid))))
    return part if in_order == features.elements else None
