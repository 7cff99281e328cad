"""Runs a model on coded images, and records how each element of its tensors responds to each code."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn
from torch.linalg import vecdot

from xai_core.memory_errors import out_of_memory
from xai_core.model.coded_images import CodedImages
from xai_core.model.execution import explaining, temporary_hooks
from xai_core.model.layouts import (
    Size,
    count_and_channels,
    is_folded,
    is_large,
    measured_grid,
    spatial_grid,
    to_elements,
)
from xai_core.model.map_parts import Part, size_of, slices, whole
from xai_core.model.sites import Site
from xai_core.outputs import leaf_at
from xai_core.precision import at_least_float32
from xai_core.tensor_writes import version

Run = Callable[[Tensor], Any]
"""Runs the model on images [N,C,H,W]."""


@dataclass(frozen=True)
class Responses:
    """The responses of a site.

    Attributes
    ----------
    contrasts
        The contrasts of each element: of its values, and of their differences from the mean over elements.
    part
        The part of a large map that depends on the image, or None for other tensors.
    """

    contrasts: tuple[Float[ndarray, "n bits"], Float[ndarray, "n bits"]]
    part: Part | None = None


def respond(
    model: nn.Module, run: Run, images: CodedImages, sites: Sequence[tuple[Site, str]], block: int
) -> dict[tuple[Site, str], Responses]:
    """Return the responses of sites with a layout to coded images.

    The elements of a large map are blocks of cells in the part that depends on the image: see `measured_grid`.

    The contrast of an element for code k is <T(x_k) - T(x'_k), T(b) - T(a)> / |T(b) - T(a)|^2. T are its values. x_k
    and x'_k are the images of a code and of its complement. a and b are the textures. The contrast is 1 if the element
    depends only on pixels whose code is 1, and -1 if it depends only on other pixels. It is NaN if the element does not
    depend on the image.

    Parameters
    ----------
    model
        The module whose submodules the sites name.
    run
        Runs the module.
    images
        The coded images.
    sites
        Sites, each with a possible layout.
    block
        The number of images in one forward pass.
    """
    directions: dict[tuple[Site, str], Tensor] = {}
    parts: dict[tuple[Site, str], Part | None] = {}
    contrasts: dict[tuple[Site, str], Float[Tensor, "2 pairs n"]] = {}
    done = Counter[tuple[Site, str]]()

    def blocks(values: Float[Tensor, " n"], key: tuple[Site, str]) -> Float[Tensor, " blocks"]:
        part, grid = parts[key], spatial_grid(key[0].shape, key[1])
        return values if part is None or grid is None else _blocks(values, grid, part)

    def direction(key: tuple[Site, str], elements: Tensor, same: tuple[Site, str] | None) -> None:
        directions[key] = elements[1] - elements[0] if same is None else directions[same]  # [n,C]
        parts[key] = _responding(directions[key], *key)

    def contrast(key: tuple[Site, str], elements: Tensor, same: tuple[Site, str] | None) -> None:
        start, count, wanted = done[key], len(elements) // 2, directions[key]
        done[key] += count
        if same is not None and wanted is directions[same]:
            contrasts[key][:, start : done[key]] = contrasts[same][:, start : done[key]]
            return
        centered = wanted - wanted.mean(0)
        norms = blocks(wanted.square().sum(1), key), blocks(centered.square().sum(1), key)
        for number in range(count):  # one pair fits into the cache
            difference = elements[2 * number] - elements[2 * number + 1]  # [n,C]
            of_values, of_centered = contrasts[key][:, start + number]
            products = vecdot(difference, wanted), vecdot(difference, centered) - centered @ difference.mean(0)
            of_values[:], of_centered[:] = (blocks(of, key) / norm for of, norm in zip(products, norms, strict=True))

    try:
        _observe(model, run, images.textures, sites, direction, block)
        # Small tensors that are allocated in a forward pass, and kept, would fragment the memory.
        contrasts |= {key: of.new_empty(2, images.pairs, len(blocks(of[:, 0], key))) for key, of in directions.items()}
        present = [key for key in sites if key in directions]
        pairs = torch.stack([*images.each_pair()])
        for some in pairs.split(max(block // 2, 1)):
            _observe(model, run, some.flatten(0, 1), present, contrast, block)
    except RuntimeError as error:
        if block > 1 and out_of_memory(error):
            return respond(model, run, images, sites, block // 2)
        raise
    complete = {key: found.mT.cpu().numpy() for key, found in contrasts.items() if done[key] == images.pairs}
    return {key: Responses((values, centered), parts[key]) for key, (values, centered) in complete.items()}


def _responding(direction: Float[Tensor, "n C"], site: Site, layout: str) -> Part | None:
    """Return the part of a large map that depends on the image, or None for other tensors."""
    grid = spatial_grid(site.shape, layout)
    if grid is None or not is_large(grid):
        return None
    cells = (direction != 0).any(1).view(grid).nonzero()
    if not len(cells):
        return whole(grid)
    return tuple((first, last + 1) for first, last in zip(*(of.tolist() for of in cells.aminmax(dim=0)), strict=True))


def _blocks(values: Float[Tensor, " n"], grid: Size, part: Part) -> Float[Tensor, " blocks"]:
    """Return the mean over each block of cells of a part of a map."""
    pool: Callable[..., Tensor] = F.adaptive_avg_pool2d if len(grid) == 2 else F.adaptive_avg_pool3d
    return pool(values.view(grid)[slices(part)][None, None], measured_grid(size_of(part))).flatten()


def _observe(
    model: nn.Module,
    run: Run,
    images: Tensor,
    sites: Sequence[tuple[Site, str]],
    observe: Callable[[tuple[Site, str], Tensor, tuple[Site, str] | None], None],
    block: int,
) -> None:
    """Run the model on at most `block` images per forward pass. Pass the elements [N,n,C] of each site to `observe`.

    If the tensor of the previous site is the same, as in containers of one module, `observe` receives this site too.
    """
    if block < len(images):  # two images, one by one
        firsts: dict[tuple[Site, str], Tensor] = {}

        def keep(key: tuple[Site, str], elements: Tensor, same: tuple[Site, str] | None) -> None:
            firsts[key] = elements.clone() if same is None else firsts[same]

        def complete(key: tuple[Site, str], elements: Tensor, same: tuple[Site, str] | None) -> None:
            if key in firsts:
                observe(key, torch.cat([firsts.pop(key), elements]), same)

        first, second = images.split(1)
        _observe(model, run, first, sites, keep, block)
        _observe(model, run, second, sites, complete, block)
        return
    wanted: dict[tuple[str, int], list[tuple[Site, str]]] = {}
    for site, layout in sites:
        wanted.setdefault((site.layer, site.call), []).append((site, layout))
    names = {module: name for name, module in model.named_modules()}
    calls: Counter[str] = Counter()
    previous = _PreviousTensors()

    def leave(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        name = names[module]
        for site, layout in wanted.get((name, calls[name]), ()):
            tensor = leaf_at(output, site.path)
            if tensor is not None and tensor.shape == _shape_for(site, layout, len(images)):
                elements = to_elements(
                    at_least_float32(tensor), layout, count_and_channels(site.shape, layout)[0]
                ).float()
                observe((site, layout), elements, previous.same(tensor, site, layout))
        calls[name] += 1

    layers = {name for name, _ in wanted}
    hooks = {module: leave for module, name in names.items() if name in layers}
    with explaining(model, gradients=False), temporary_hooks(after=hooks):
        run(images)


class _PreviousTensors:
    """The previous tensor that was observed with each layout."""

    def __init__(self) -> None:
        self._by_layout: dict[str, tuple[Tensor, int, Site]] = {}

    def same(self, tensor: Tensor, site: Site, layout: str) -> tuple[Site, str] | None:
        """Return the site of the previous tensor if it is the same tensor without a write since, or None."""
        previous, written, other = self._by_layout.get(layout, (None, 0, site))
        self._by_layout[layout] = tensor, version(tensor), site
        is_same = previous is tensor and written == version(tensor) and not tensor.is_inference()
        return (other, layout) if is_same else None


def _shape_for(site: Site, layout: str, count: int) -> tuple[int, ...]:
    shape = [*site.shape]
    shape[1 if layout == "LNC" else 0] = count * (shape[0] if is_folded(layout) else 1)
    return tuple(shape)
