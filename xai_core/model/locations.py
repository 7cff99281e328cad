"""Reads locations: the grid cell that affects each element of a tensor, from its responses to coded images."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from xai_core.model.coded_images import CodedImages
from xai_core.model.layouts import Size

ORDERED = 0.8
"""The R2 between positions and a regular order, on each axis, above which the order is accepted."""
SIGNIFICANT = 5.0
"""The number of standard errors by which another order must fit better to contradict the order of a feature map."""
FEWEST = 4
"""The fewest elements that are read."""


@dataclass(frozen=True)
class Locations:
    """The locations of the elements of a tensor.

    Attributes
    ----------
    grid
        The (h, w) of the cells.
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
        whole = _read(contrasts, np.arange(len(contrasts)), images, [*dict.fromkeys([grid, grid[::-1]])])
        if whole is not None or len(local) == len(contrasts):
            return whole
    return _read(contrasts, local, images, _factors(len(local)))


def _read(
    contrasts: Float[ndarray, "n bits"], local: Int[ndarray, " local"], images: CodedImages, shapes: Sequence[Size]
) -> Locations | None:
    """Return the locations of some elements on a grid of one of the shapes, or None."""
    if len(local) < FEWEST or not np.isfinite(contrasts[local]).all():
        return None
    best: tuple[float, Locations] | None = None
    for shape in shapes:
        (rows, y), (columns, x) = _decode(contrasts[local], images, shape)
        order = _order(rows, columns, shape) if min(y, x) > 0.5 * max(y, x) else None
        if order is not None:
            found = Locations(shape, tuple(local[order].tolist()))
            similarity = fit(contrasts, images, found)
            if best is None or similarity > best[0]:
                best = similarity, found
    return None if best is None else best[1]


def fit(contrasts: Float[ndarray, "n bits"], images: CodedImages, locations: Locations) -> float:
    """Return how well the contrasts of located elements match the codes of their cells, as a cosine similarity."""
    rows, columns = images.templates(locations.grid)
    h, w = locations.grid
    codes = np.concatenate([rows.repeat(w, 0), np.tile(columns, (h, 1))], 1)
    of_cells = np.nan_to_num(contrasts[list(locations.elements)])
    norm = np.linalg.norm(of_cells) * np.linalg.norm(codes)
    return float((of_cells * codes).sum() / norm) if norm else 0.0


def agrees(contrasts: Float[ndarray, "n bits"], images: CodedImages, locations: Locations) -> bool:
    """Whether weak responses are consistent with locations that were read in an earlier tensor."""
    h, w = locations.grid
    (rows, _), (columns, _) = _decode(np.nan_to_num(contrasts[list(locations.elements)]), images, locations.grid)
    correlation = min(_correlation(rows, np.arange(h).repeat(w)), _correlation(columns, np.tile(np.arange(w), h)))
    return bool(correlation > min(0.6, 4 / math.sqrt(h * w)))


def contradicts(contrasts: Float[ndarray, "n bits"], images: CodedImages, grid: Size) -> bool:
    """Return whether the responses of a feature map fit another order significantly better than its own.

    The other orders are cyclic shifts and flips of each axis, and the transpose of a square map.
    """
    h, w = grid
    templates = images.templates(grid)
    y, x = (axis.reshape(h, w, -1) for axis in _by_axis(np.nan_to_num(contrasts), images))
    straight, turned = [y.sum(1), x.sum(0)], [y.sum(0), x.sum(1)]  # the responses of rows and columns
    own = sum(float((codes * template).sum()) for codes, template in zip(straight, templates, strict=True))
    other = max(
        sum(_best_shift(codes, template) for codes, template in zip(axes, templates, strict=True))
        for axes in ([straight, turned] if h == w else [straight])
    )
    of_codes = math.hypot(*(np.linalg.norm(t) * math.sqrt(n) for t, n in zip(templates, (w, h), strict=True)))
    norm = np.linalg.norm(np.nan_to_num(contrasts)) * of_codes
    return bool((other - own) * math.sqrt(contrasts.size) > SIGNIFICANT * norm)


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
    return np.split(contrasts, [len(images.codes[0])], axis=1)


def _matched(
    codes: Float[ndarray, "n bits"], templates: Float[ndarray, "side bits"]
) -> tuple[Int[ndarray, " n"], Float[ndarray, " n"]]:
    """Return the index of the best-matching template of each code, and the match relative to the template itself."""
    norms = np.linalg.norm(templates, axis=1)
    norms[norms == 0] = 1  # a grid with a single cell on this axis
    matches = codes @ (templates / norms[:, None]).T
    position = matches.argmax(1)
    return position, np.take_along_axis(matches, position[:, None], 1)[:, 0] / norms[position]


def _order(rows: Int[ndarray, " n"], columns: Int[ndarray, " n"], grid: Size) -> Int[ndarray, " n"] | None:
    """Return the index of the element of each cell, or None if the positions do not fit the grid.

    Either each element has its own cell, or the elements are in row-major or column-major order, from any corner.
    """
    cells = rows * grid[1] + columns
    if len(np.unique(cells)) == len(cells):
        return cells.argsort()
    row, column = np.indices(grid).reshape(2, -1)
    orders = _regular_orders(grid)
    correlation = np.minimum(_correlation(rows[orders], row), _correlation(columns[orders], column))
    best = correlation.argmax()
    return orders[best] if correlation[best] > math.sqrt(ORDERED) else None


@cache
def _regular_orders(grid: Size) -> Int[ndarray, "8 n"]:
    """Return the index of the element of each cell, for row-major or column-major order from any corner."""
    h, w = grid
    orders = (np.arange(h * w).reshape(h, w), np.arange(h * w).reshape(w, h).T)
    return np.stack([np.flip(order, axes).ravel() for order in orders for axes in ((), (0,), (1,), (0, 1))])


def _correlation(positions: Int[ndarray, "*orders n"], expected: Int[ndarray, " n"]) -> Float[ndarray, "*orders"]:
    """Return the correlation of positions with the expected positions. It is 0 if the positions do not differ."""
    a, b = positions - positions.mean(-1, keepdims=True), expected - expected.mean()
    norm = np.sqrt((a * a).sum(-1) * (b @ b))
    return np.divide(a @ b, norm, out=np.zeros_like(norm), where=norm > 0)


def _factors(count: int) -> Sequence[Size]:
    return [(h, count // h) for h in range(2, count // 2 + 1) if count % h == 0]
