"""Oracles that know nothing of how the engine reads a model: where features look, and what plain autograd says of them.

They use only what `Engine.adapter` shows (`spatial`), find the layer's tensor by a plain hook, and replace it where an
operation makes it, whatever module returns it. They suit every model that is deterministic.
"""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.weak import WeakTensorKeyDictionary

import xai_core as xai

Forward = Callable[[nn.Module, Tensor], Any]
AT_ONCE = 2**20
"""The number of values in the images that run at once."""


@dataclass(frozen=True)
class Reading:
    """The engine's reading of a model: the layer, its activation and gradient, and scores of perturbed activations."""

    adapter: xai.ModelAdapter
    layer: str
    activation: Tensor
    gradient: Tensor
    perturbed: Tensor
    scores: Tensor


def reading(engine: xai.Engine, images: Tensor, target: Any, layer: str | None = None) -> Reading:
    """Read a layer (default: the engine's own) by an explainer that only keeps what it is given."""
    kept: list[Reading] = []

    class Keep(xai.Explainer):
        name = "keep"
        volumes = True

        def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
            return xai.Needs((adapter.default_layer if layer is None else layer,), gradients=True)

        def explain(self, captured: xai.Captured) -> Tensor:
            activation = captured.activation()
            noise = torch.randn(activation.shape, generator=torch.Generator().manual_seed(2)).to(activation)
            perturbed = activation + 0.5 * activation.std() * noise
            scores = captured.partial_forward()(perturbed)
            kept.append(
                Reading(captured.adapter, captured.layers[0], activation, captured.gradient(), perturbed, scores)
            )
            return captured.images[:, 0]

    engine.explain(images, Keep(), target)
    return kept[0]


@dataclass(frozen=True)
class _Maker:
    """An operation of a forward pass by its number, and one of the tensors in its result."""

    operation: int
    leaf: int
    version: int
    in_place: bool


class _Operations(TorchFunctionMode):
    """Numbers the operations of a forward pass, keeps who made each tensor, and replaces the tensor of one maker."""

    def __init__(self, maker: _Maker | None = None, value: Tensor | None = None) -> None:
        super().__init__()
        self._maker, self._value = maker, value
        self._count, self.paused = 0, False
        self._makers = WeakTensorKeyDictionary()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if self.paused:
            return result
        number, self._count = self._count, self._count + 1
        if self._maker is not None and number == self._maker.operation:
            return self._replaced(result)
        for leaf, tensor in enumerate(_tensors(result)):
            known = self._makers.get(tensor)
            if known is None or tensor._version > known.version:  # new, or written to
                received = any(tensor is argument for argument in _tensors((args, kwargs)))
                self._makers[tensor] = _Maker(number, leaf, tensor._version, received)
        return result

    def maker(self, tensor: Tensor) -> _Maker | None:
        """The operation that made a tensor, or None if it is no operation's, or was written to through another one."""
        maker = self._makers.get(tensor)
        return maker if maker is not None and maker.version == tensor._version else None

    def _replaced(self, result: Any) -> Any:
        assert self._maker is not None
        assert self._value is not None
        tensor = _tensors(result)[self._maker.leaf]
        if self._maker.in_place:  # others hold the tensor
            with torch.no_grad():
                tensor.copy_(self._value)
            return result
        return tree_map_only(Tensor, lambda other: self._value if other is tensor else other, result)


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor) and leaf.is_floating_point()]


@dataclass(frozen=True)
class _Seen:
    """A tensor that one call of a module received or returned, with the values that it had then."""

    call: int
    place: tuple[str, int]
    values: Tensor
    edge: GradientEdge | None
    maker: _Maker


@dataclass(frozen=True)
class Fit:
    """Fit of the positions where features respond to the positions that change, on each axis."""

    r2: tuple[float, ...]
    offset: tuple[float, ...]

    @property
    def right(self) -> bool:
        """Whether the order is right (R2 above 0.8) and the center is passed within 0.6 cells, on all axes."""
        return min(self.r2) > 0.8 and max(self.offset) < 0.6


class Oracle:
    """A model outside of the engine, and the tensor in it that the engine read.

    `score` computes the scores [B] of the target from the output. `call` is the number of the module call.
    """

    def __init__(
        self, model: nn.Module, forward: Forward, score: Callable[[Any], Tensor], images: Tensor, read: Reading
    ) -> None:
        self.model, self.forward, self.score, self.images, self.read = model.eval(), forward, score, images, read
        self.module = model.get_submodule(read.layer.partition("@")[0])
        self._run(images, _Operations())  # some models fill caches, which changes the number of operations
        self._output, seen = self._run(images, _Operations())
        alike = [one for one in seen if self._is_read(one.values)]
        assert alike, f"no input or output of {read.layer!r} has the values of the captured activation"
        self._site = max(alike, key=lambda one: (one.place[0] == "output", one.call))
        self.call, self.tensor = self._site.call, self._site.values
        self._index = self._indices()

    def gradient(self) -> Tensor:
        """[B,K,h,w]: what autograd gives at the tensor, laid out as the engine lays it out."""
        assert self._site.edge is not None, "the tensor has no graph"
        (gradient,) = torch.autograd.grad(self.score(self._output).sum(), self._site.edge)
        return self._laid_out(gradient)

    def scores(self, maps: Tensor | None = None) -> Tensor:
        """[B]: the scores, with maps [B,K,h,w] in the place of the features if they are given."""
        if maps is None:
            return self.score(self._output).detach()
        value = self.tensor.clone(memory_format=torch.contiguous_format)
        known = self._index >= 0
        value.view(-1)[self._index[known]] = maps[known].to(value.dtype)
        output, _ = self._run(self.images, _Operations(self._site.maker, value))
        return self.score(output).detach()

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """[B,K,h,w]: the features of other images."""
        kind, leaf = self._site.place
        calls, values = itertools.count(), []

        def see(_: nn.Module, args: Any, kwargs: Mapping[str, Any], output: Any) -> None:
            if next(calls) == self._site.call:
                values.append(_tensors((args, kwargs) if kind == "input" else output)[leaf].clone())

        handle = self.module.register_forward_hook(see, with_kwargs=True)
        try:
            self.forward(self.model, images.clone())
        finally:
            handle.remove()
        return self.read.adapter.spatial(values[0], self.read.layer)

    def places(self, **options: int) -> Fit:
        """Fit where the features respond to where the image changes."""
        return places_of(self.features, tuple(self.images.shape[2:]), **options)

    def _run(self, images: Tensor, operations: _Operations) -> tuple[Any, list[_Seen]]:
        """Return the output, and what the module received and returned, with the same operations at every run."""
        seen: list[_Seen] = []
        calls = 0

        def see(_: nn.Module, args: Any, kwargs: Mapping[str, Any], output: Any) -> None:
            nonlocal calls
            operations.paused = True
            for kind, value in (("input", (args, kwargs)), ("output", output)):
                for leaf, tensor in enumerate(_tensors(value)):
                    maker = operations.maker(tensor)
                    if maker is not None:
                        edge = get_gradient_edge(tensor) if tensor.requires_grad else None
                        seen.append(_Seen(calls, (kind, leaf), tensor.detach().clone(), edge, maker))
            calls += 1
            operations.paused = False

        handle = self.module.register_forward_hook(see, with_kwargs=True)
        images = images.clone().requires_grad_(torch.is_grad_enabled())
        try:
            with operations:
                output = self.forward(self.model, images)
        finally:
            handle.remove()
        return output, seen

    def _is_read(self, tensor: Tensor) -> bool:
        try:
            maps = self.read.adapter.spatial(tensor, self.read.layer)
        except (RuntimeError, IndexError, ValueError):  # another shape
            return False
        own = self.read.activation
        return maps.shape == own.shape and torch.allclose(maps.to(own), own, rtol=1e-3, atol=1e-4 * own.abs().amax())

    def _indices(self) -> Tensor:
        """For every element [B,K,h,w] of the features, its index in the tensor, or -1 if no element holds it."""
        numbers = torch.arange(1.0, self.tensor.numel() + 1, dtype=torch.float64).view(self.tensor.shape)
        return self.read.adapter.spatial(numbers, self.read.layer).round().long() - 1

    def _laid_out(self, tensor: Tensor) -> Tensor:
        values = tensor.reshape(-1)[self._index.clamp(min=0)]
        return values * (self._index >= 0)


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, as a fraction of the largest value of `theirs`."""
    return ((ours.double() - theirs.double()).abs().amax() / theirs.double().abs().amax().clamp(min=1e-12)).item()


def gradient_error(oracle: Oracle) -> float:
    """How much the captured gradient differs from that of plain autograd, which must not be zero."""
    expected = oracle.gradient()
    assert expected.abs().amax() > 1e-7, "the score does not depend on the layer"
    return relative_error(oracle.read.gradient, expected)


def substitution_error(oracle: Oracle) -> float:
    """How much the effect of a replaced activation on the score differs from the oracle's, which must not be zero."""
    before, expected = oracle.scores(), oracle.scores(oracle.read.perturbed)
    rounding = 100 * torch.finfo(before.dtype).eps * before.abs().amax()
    assert ((expected - before).abs() > rounding).all(), "the score ignores what replaces the layer"
    return relative_error(oracle.read.scores - before, expected - before)


@torch.no_grad()
def places_of(features: Callable[[Tensor], Tensor], size: tuple[int, ...], lattice: int = 6, textures: int = 4) -> Fit:
    """Change an image at the places of a lattice, and fit the centroid of the features' response to the place.

    `features` returns [B,K,h,w] for images [B,3,H,W], or [B,K,d,h,w] for volumes [B,3,D,H,W]. For a grid of two cells
    per axis, pass `lattice=2`: with four places, the R2 of perfect cells is only 0.8.
    """
    generator = torch.Generator().manual_seed(3)
    before, after = (torch.randn(textures, 3, *size, generator=generator) for _ in range(2))
    edges = (torch.linspace(0, side, min(lattice, side) + 1).round().long().tolist() for side in size)
    spots = [*itertools.product(*([slice(*pair) for pair in itertools.pairwise(edge)] for edge in edges))]
    changed = before.repeat(len(spots), *[1] * before.ndim)  # [P,T,3,H,W]
    for images, spot in zip(changed, spots, strict=True):
        images[(..., *spot)] = after[(..., *spot)]
    base, other = features(before).double(), features(after).double()
    at_once = max(1, AT_ONCE // before.numel())  # places
    responses = [
        responses_of(features(part.flatten(0, 1)).double().unflatten(0, (-1, textures)) - base, other - base)
        for part in changed.split(at_once)
    ]
    true = torch.tensor([[(spot.start + spot.stop) / 2 for spot in place] for place in spots], dtype=torch.float64)
    true = true / torch.tensor(size) * torch.tensor(base.shape[2:]) - 0.5  # in cells
    fits = [fit(torch.cat(response), true) for response in zip(*responses, strict=True)]
    return max(fits, key=lambda one: min(one.r2))


def responses_of(difference: Tensor, direction: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return three measures [P,h,w] of how much features change in [P,T,K,h,w] where an image changes in a place.

    The first is the size of the change. The others are its part in the direction [T,K,h,w] in which the features
    change if the whole image does. The last one ignores a change of all positions alike, as in global attention.
    """
    axes = tuple(range(2 - direction.ndim, 0))
    centered = (each - each.mean(axes, keepdim=True) for each in (difference, direction))
    return (
        difference.pow(2).sum(2).mean(1),
        (difference * direction).sum(2).mean(1),
        math.prod(centered).sum(2).mean(1),
    )


def fit(response: Tensor, true: Tensor) -> Fit:
    """Regress the centroids of responses [P,h,w] on true places [P,2], in cells."""
    local = (response - response.mean(0)).clamp(min=0)  # attention spreads every change over all cells
    mass = local.flatten(1).sum(1)
    grid = torch.tensor(response.shape[1:])
    cells = torch.stack(torch.meshgrid(*(torch.arange(side) for side in grid.tolist()), indexing="ij"), -1).double()
    centroid = local.flatten(1) @ cells.flatten(0, -2) / mass.clamp(min=1e-30)[:, None]
    weights = mass / mass.sum()
    mean_true, mean_seen = weights @ true, weights @ centroid
    spread = weights @ (true - mean_true) ** 2
    covariance = weights @ ((true - mean_true) * (centroid - mean_seen))
    correlation = covariance / (spread * (weights @ (centroid - mean_seen) ** 2)).clamp(min=1e-30).sqrt()
    center = (grid - 1) / 2
    offset = (mean_seen + covariance / spread * (center - mean_true) - center).abs()
    r2 = correlation.clamp(min=0) ** 2  # a reversed axis is no order
    if len(grid) == 3:  # the positions on an axis with one cell are known
        r2, offset = r2.where(grid > 1, 1), offset.where(grid > 1, 0)
    return Fit(*(tuple(0.0 if math.isnan(v) else v for v in axis.tolist()) for axis in (r2, offset)))
