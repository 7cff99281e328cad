"""Reads locations: the grid cell that affects each element of a tensor, from its responses to coded images."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, permutations

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from xai_core.model.coded_images import CodedImages
from xai_core.model.layouts import MOST_CELLS, Size

ORDERED = 0.8
"""The R2 between positions and a regular order, on each axis, above which the order is accepted."""
SIGNIFICANT = 5.0
"""The number of standard errors by which another order must fit better to contradict the order of a feature map."""
LONGEST_CELL = 2
"""The ratio of the sides of a cell up to which more than `MOST_CELLS` tokens are read."""
FEWEST = 4
"""The fewest elements that are read."""


@dataclass(frozen=True)
class Locations:
    """The locations of the elements of a tensor.

    Attributes
    ----------
    grid
        The (h, w) of the cells. For volumes, (d, h, w).
    elements
        The index of the element of each cell, in row-major order. Other elements have no location.
    """

    grid: Size
    elements: tuple[int, ...]


def read_locations(
    contrasts: Float[ndarray, "n bits"], images: CodedImages, grid: Size | None = None
) -> Locations | None:
    """Return the locations of n elements, or None if their responses do not show them.

    Parameters
    ----------
    contrasts
        The contrast of each element's responses to each pair of images. NaN if the element does not respond.
    images
        The images.
    grid
        The shape of a feature map. Its transpose is possible too, and a smaller grid if the map is padded.
    """
    local = _local_elements(contrasts, images)
    if grid and np.isfinite(contrasts).all():
        whole = _read(contrasts, np.arange(len(contrasts)), images, [*dict.fromkeys(permutations(grid))])
        if whole is not None or len(local) == len(contrasts):
            return whole
    return _read(contrasts, local, images, _grids(len(local), images))


def _read(
    contrasts: Float[ndarray, "n bits"], local: Int[ndarray, " local"], images: CodedImages, shapes: Sequence[Size]
) -> Locations | None:
    """Return the locations of some elements on a grid of one of the shapes, or None."""
    if len(local) < FEWEST or not np.isfinite(contrasts[local]).all():
        return None
    best: tuple[float, Locations] | None = None
    for shape in shapes:
        positions, localities = zip(*_decode(contrasts[local], images, shape), strict=True)
        axes = _axes(shape)
        located = [localities[axis] for axis in axes]
        order = _order(positions, shape) if min(located) > 0.5 * max(located) else None
        if order is not None:
            found = Locations(shape, tuple(local[order].tolist()))
            similarity = fit(contrasts, images, found)
            if best is None or similarity > best[0]:
                best = similarity, found
    return None if best is None else best[1]


def fit(contrasts: Float[ndarray, "n bits"], images: CodedImages, locations: Locations) -> float:
    """Return how well the contrasts of located elements match the codes of their cells, as a cosine similarity."""
    positions = np.indices(locations.grid).reshape(len(locations.grid), -1)
    templates = images.templates(locations.grid)
    codes = np.concatenate([codes[at] for codes, at in zip(templates, positions, strict=True)], 1)
    of_cells = np.nan_to_num(contrasts[list(locations.elements)])
    norm = np.linalg.norm(of_cells) * np.linalg.norm(codes)
    return float((of_cells * codes).sum() / norm) if norm else 0.0


def agrees(contrasts: Float[ndarray, "n bits"], images: CodedImages, locations: Locations) -> bool:
    """Return whether weak responses are consistent with locations that were read in an earlier tensor."""
    grid = locations.grid
    decoded = _decode(np.nan_to_num(contrasts[list(locations.elements)]), images, grid)
    expected = np.indices(grid).reshape(len(grid), -1)
    correlation = min(_correlation(decoded[axis][0], expected[axis]) for axis in _axes(grid))
    return bool(correlation > min(0.6, 4 / math.sqrt(math.prod(grid))))


def contradicts(contrasts: Float[ndarray, "n bits"], images: CodedImages, grid: Size) -> bool:
    """Return whether the responses of a feature map fit another order significantly better than its own.

    The other orders are cyclic shifts and flips of each axis, and transposes with the same shape.
    """
    templates = images.templates(grid)
    responses = [axis.reshape(*grid, -1) for axis in _by_axis(np.nan_to_num(contrasts), images)]
    transposes = [axes for axes in permutations(range(len(grid))) if tuple(grid[axis] for axis in axes) == grid]
    straight, *turned = ([_along(r, axis) for r, axis in zip(responses, axes, strict=True)] for axes in transposes)
    own = sum(float((codes * template).sum()) for codes, template in zip(straight, templates, strict=True))
    other = max(
        sum(_best_shift(codes, template) for codes, template in zip(axes, templates, strict=True))
        for axes in (straight, *turned)
    )
    of_codes = math.hypot(*(np.linalg.norm(t) * math.sqrt(math.prod(grid) // len(t)) for t in templates))
    norm = np.linalg.norm(np.nan_to_num(contrasts)) * of_codes
    return bool((other - own) * math.sqrt(contrasts.size) > SIGNIFICANT * norm)


def _along(responses: Float[ndarray, "*grid bits"], axis: int) -> Float[ndarray, "side bits"]:
    """Return the sum of the responses of each position on an axis."""
    return responses.sum(tuple(other for other in range(responses.ndim - 1) if other != axis))


def _best_shift(codes: Float[ndarray, "side bits"], template: Float[ndarray, "side bits"]) -> float:
    """Return the largest inner product of codes with the cyclic shifts of a template and of its reverse."""
    both = (template, template[::-1])
    return max(float((codes * np.roll(t, shift, 0)).sum()) for t in both for shift in range(len(t)))


def _local_elements(contrasts: Float[ndarray, "n bits"], images: CodedImages) -> Int[ndarray, " local"]:
    """Return the elements that respond to one location more than to others, unlike class tokens."""
    responding = np.isfinite(contrasts).all(1)
    if not responding.any():
        return np.arange(0)
    finest = tuple(2 ** (len(codes) - 1) for codes in images.codes)
    axes = zip(_by_axis(np.nan_to_num(contrasts), images), images.templates(finest), strict=True)
    locality = np.sum([_matched(codes, templates)[1].clip(0) for codes, templates in axes], axis=0)
    return np.flatnonzero(responding & (locality > 0.5 * np.median(locality[responding])))


def _decode(
    contrasts: Float[ndarray, "n bits"], images: CodedImages, grid: Size
) -> list[tuple[Int[ndarray, " n"], float]]:
    """Return the position of each element on each axis, and the mean locality: 1 for its cell only, 0 for all cells."""
    axes = zip(_by_axis(contrasts, images), images.templates(grid), strict=True)
    decoded = (_matched(codes, templates) for codes, templates in axes)
    return [(position, float(locality.clip(0, 1).mean())) for position, locality in decoded]


def _by_axis(contrasts: Float[ndarray, "n bits"], images: CodedImages) -> list[Float[ndarray, "n _"]]:
    return np.split(contrasts, np.cumsum([len(codes) for codes in images.codes])[:-1], axis=1)


def _matched(
    codes: Float[ndarray, "n bits"], templates: Float[ndarray, "side bits"]
) -> tuple[Int[ndarray, " n"], Float[ndarray, " n"]]:
    """Return the index of the best-matching template of each code, and the match relative to the template itself."""
    norms = np.linalg.norm(templates, axis=1)
    norms[norms == 0] = 1  # a grid with a single cell on this axis
    matches = codes @ (templates / norms[:, None]).T
    position = matches.argmax(1)
    return position, np.take_along_axis(matches, position[:, None], 1)[:, 0] / norms[position]


def _order(positions: Sequence[Int[ndarray, " n"]], grid: Size) -> Int[ndarray, " n"] | None:
    """Return the index of the element of each cell, or None if the positions do not fit the grid.

    Either each element has its own cell, or the elements are in row-major or column-major order, from any corner.
    """
    cells = np.ravel_multi_index(tuple(positions), grid)
    if len(np.unique(cells)) == len(cells):
        return cells.argsort()
    expected = np.indices(grid).reshape(len(grid), -1)
    orders = _regular_orders(grid)
    correlation = np.min([_correlation(positions[axis][orders], expected[axis]) for axis in _axes(grid)], axis=0)
    best = correlation.argmax()
    return orders[best] if correlation[best] > math.sqrt(ORDERED) else None


def _axes(grid: Size) -> Sequence[int]:
    """Return the axes on which elements must be located. In volumes, an axis with a single cell locates nothing."""
    return [axis for axis, side in enumerate(grid) if side > 1 or len(grid) == 2]


@cache
def _regular_orders(grid: Size) -> Int[ndarray, "orders n"]:
    """Return the index of the element of each cell, for each order of the axes and from any corner."""
    axes = range(len(grid))
    counts = np.arange(math.prod(grid))
    orders = [
        counts.reshape([grid[axis] for axis in order]).transpose(np.argsort(order)) for order in permutations(axes)
    ]
    corners = [corner for count in range(len(grid) + 1) for corner in combinations(axes, count)]
    return np.stack([np.flip(order, corner).ravel() for order in orders for corner in corners])


def _correlation(positions: Int[ndarray, "*orders n"], expected: Int[ndarray, " n"]) -> Float[ndarray, "*orders"]:
    """Return the correlation of positions with the expected positions. It is 0 if the positions do not differ."""
    a, b = positions - positions.mean(-1, keepdims=True), expected - expected.mean()
    norm = np.sqrt((a * a).sum(-1) * (b @ b))
    return np.divide(a @ b, norm, out=np.zeros_like(norm), where=norm > 0)


def _grids(count: int, images: CodedImages) -> Sequence[Size]:
    """Return the grids with `count` cells. If there are many cells, their sides differ by less than `LONGEST_CELL`."""
    grids = _factors(count, len(images.codes))
    if count <= MOST_CELLS:
        return grids
    height, width = (codes.shape[1] for codes in images.codes[-2:])
    aspect = width / height
    return [
        grid
        for grid in grids
        if any(1 / LONGEST_CELL < grid[-1] / grid[-2] / of < LONGEST_CELL for of in (aspect, 1 / aspect))
    ]


def _factors(count: int, dims: int) -> Sequence[Size]:
    """Return the grids with `count` cells and several rows and columns."""
    if dims == 2:
        return [(h, count // h) for h in range(2, count // 2 + 1) if count % h == 0]
    return [(d, *grid) for d in range(1, count // 4 + 1) if count % d == 0 for grid in _factors(count // d, 2)]
