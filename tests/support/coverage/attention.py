"""The attention oracle: rollout and generic attention, from whole matrices that plain operations compute.

The order of the matrices, the rows that the head reads, and the places of the tokens are measured: by gradients, and by
changes of the image.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, reduce
from itertools import pairwise, product
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.overrides import TorchFunctionMode

import xai_core as xai
from support.coverage.case import Built, Score
from xai_core.errors import UnsuitableError

CORRECT, NOT_DEFINED = "correct", "not defined"
AT_ONCE, ROUNDS, STABLE = 64, 16, 3
"""The numbers of images that run at once, of attempts to locate the tokens, and of equal results that suffice."""
METHODS = ("rollout", "generic-attention")
TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-3}
"""Largest error as a fraction of the span of a map."""


def attention(built: Built, engine: xai.Engine, images: Tensor, target: Any, score: Score) -> str:
    """Return whether both methods give the maps of their formulas, or that neither is defined for this model."""
    maps = {name: found for name in METHODS if (found := explained(engine, images, name, target)) is not None}
    if not maps:
        return NOT_DEFINED
    matrices, gradients = on_path(built, images, score)
    tokens = matrices[-1].shape[-1]
    shapes = {(len(matrix), *matrix.shape[-2:]) for matrix in (with_heads(each, images) for each in matrices)}
    if shapes != {(len(images), tokens, tokens)}:
        return f"{', '.join(maps)}: defined, but the attention is not between the same tokens in all layers"
    cells = token_of_cell(built, images, next(iter(maps.values())).shape[1:])
    expected = formulas(matrices, gradients, cells, images)
    for name, found in maps.items():
        right = expected[name][:, cells]
        span, error = right.amax() - right.amin(), (found - right).abs().amax()
        if error > TOLERANCE[images.dtype] * span + 1e-6 * right.abs().amax():  # maps are float32
            return f"{name} differs by {float(error / span):.1e}"
    return CORRECT


def explained(engine: xai.Engine, images: Tensor, method: str, target: Any) -> Tensor | None:
    """Return the map [B,h,w] of a method, or None if it is not defined for the model."""
    try:
        return engine.explain(images, method, target)[method].raw
    except UnsuitableError:
        return None


def with_heads(matrix: Tensor, images: Tensor) -> Tensor:
    """Return [B * heads, N, N] as [B, heads, N, N]."""
    return matrix.unflatten(0, (len(images), -1)) if matrix.ndim == 3 and len(matrix) % len(images) == 0 else matrix


def formulas(
    matrices: Sequence[Tensor], gradients: Sequence[Tensor], cells: Tensor, images: Tensor
) -> dict[str, Tensor]:
    """Return the row [B,N] of both methods. `cells` [h,w] are the tokens with a place in the image.

    Parallel layers count as one layer with the heads of all.
    """
    stages = in_stages(matrices)
    matrices, gradients = ([with_heads(each, images) for each in group] for group in (matrices, gradients))
    row = read_row(sum(gradients[call].abs().sum((1, 3)) for call in stages[-1]), cells)
    mixed = [torch.stack([matrices[call].detach().mean(1) for call in stage]).mean(0) for stage in stages]
    weighted = [(m.detach() * g).relu().mean(1) for m, g in zip(matrices, gradients, strict=True)]
    relevance = [torch.stack([weighted[call] for call in stage]).mean(0) for stage in stages]
    identity = torch.eye(row.shape[1]).to(row)
    rolled = reduce(lambda rolled, stage: (stage + identity) / 2 @ rolled, mixed, identity)
    related = reduce(lambda related, stage: related + stage @ related, relevance, identity) - identity
    return {"rollout": (row[:, None] @ rolled)[:, 0], "generic-attention": (row[:, None] @ related)[:, 0]}


def read_row(strength: Tensor, cells: Tensor) -> Tensor:
    """Return the weights [B,N] of the tokens that the head reads, from the sizes [B,N] of the gradients of their rows.

    A token without a place that the head reads beside the mean over the patches, such as a class token, has a much
    larger gradient than those in a mean. Each of them counts as much as the mean.
    """
    read = strength > 0
    placed = torch.zeros_like(read).index_fill(1, cells.flatten(), True)
    mean = strength.masked_fill(~read, torch.nan).nanmedian(1, keepdim=True).values
    alone = read & ~placed & (strength > 4 * mean)
    averaged = read & ~alone
    row = alone + averaged / averaged.sum(1, keepdim=True).clamp(min=1)
    return (row / row.sum(1, keepdim=True)).to(strength)


class Plain:
    """Attention as books write it. `logits` and `matrices` [B,heads,N,N] are kept in the order of the calls.

    If a model changes a matrix after the softmax, what it multiplies with the values is kept.
    """

    def __init__(self) -> None:
        self.logits: list[Tensor] = []
        self.matrices: list[Tensor] = []
        self.softmax, self._multiplied = torch.softmax, True

    def scaled_dot_product(
        self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
        is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
    ) -> Tensor:  # fmt: skip
        if enable_gqa:
            key, value = (t.repeat_interleave(query.shape[-3] // t.shape[-3], -3) for t in (key, value))
        logits = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
        if is_causal:
            attn_mask = torch.ones(logits.shape[-2:], dtype=torch.bool).tril()
        if attn_mask is not None:
            masked = attn_mask.dtype == torch.bool
            logits = logits.masked_fill(~attn_mask, -torch.inf) if masked else logits + attn_mask
        return self.over_keys(logits) @ value

    def over_keys(self, logits: Tensor, dim: int = -1, *args: Any, **kwargs: Any) -> Tensor:
        """Softmax, which is attention if it is over the last of at least three dimensions."""
        matrix = self.softmax(logits, dim, **{k: v for k, v in kwargs.items() if k == "dtype"})
        if logits.ndim > 2 and dim in (-1, logits.ndim - 1):
            self.logits.append(logits.detach())
            self.matrices.append(matrix)
            self._multiplied = False
        return matrix

    def times_values(self, multiply: Callable[..., Tensor], *operands: Any, **kwargs: Any) -> Tensor:
        """Multiply matrices, and keep the first operand of the first product after the softmax, if its shape fits."""
        tensors = [operand for operand in operands if isinstance(operand, Tensor)]
        if not self._multiplied and len(tensors) == 2:
            weights, values = tensors
            if weights.shape == self.matrices[-1].shape and values.ndim == weights.ndim and weights.requires_grad:
                self.matrices[-1], self._multiplied = weights, True
        return multiply(*operands, **kwargs)


class SeenEinsum(TorchFunctionMode):
    """Passes on products by `torch.einsum`, which models import as a name of their own."""

    def __init__(self, plain: Plain) -> None:
        super().__init__()
        self.plain = plain

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.plain.times_values(func, *args) if func is torch.einsum else func(*args, **(kwargs or {}))


@contextmanager
def plain_attention() -> Iterator[Plain]:
    """Compute all attention by plain operations, and keep it."""
    plain = Plain()
    fast, multiply = torch.backends.mha.get_fastpath_enabled(), Tensor.__matmul__
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with (
            patch.object(F, "scaled_dot_product_attention", plain.scaled_dot_product),
            patch.object(F, "softmax", plain.over_keys),
            patch.object(torch, "softmax", plain.over_keys),
            patch.object(Tensor, "softmax", lambda *args, **kwargs: plain.over_keys(*args, **kwargs)),
            patch.object(torch, "matmul", partial(plain.times_values, torch.matmul)),
            SeenEinsum(plain),
            patch.object(Tensor, "__matmul__", lambda *operands: plain.times_values(multiply, *operands)),
        ):
            yield plain
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def on_path(built: Built, images: Tensor, score: Score) -> tuple[list[Tensor], list[Tensor]]:
    """Return the matrices between the images and the scores, and their gradients."""
    with plain_attention() as plain, torch.enable_grad():
        scores = score(built(images.clone().requires_grad_()))
    matrices = [matrix for matrix in plain.matrices if matrix.requires_grad]
    gradients = torch.autograd.grad(scores.sum(), matrices, allow_unused=True, retain_graph=True)
    kept = [(m, g) for m, g in zip(matrices, gradients, strict=True) if g is not None]
    return [m for m, _ in kept], [g for _, g in kept]


def in_stages(matrices: Sequence[Tensor]) -> list[list[int]]:
    """Group the matrices by their order: those of a stage do not depend on each other."""
    stages: list[list[int]] = []
    for call, matrix in enumerate(matrices):
        last = [matrices[earlier] for earlier in stages[-1]] if stages else []
        depends = torch.autograd.grad(matrix.square().sum(), last, allow_unused=True, retain_graph=True) if last else ()
        if not stages or any(gradient is not None for gradient in depends):
            stages.append([call])
        else:
            stages[-1].append(call)
    return stages


def token_of_cell(built: Built, images: Tensor, grid: Sequence[int]) -> Tensor:
    """Return the token [h,w] whose row of logits in the first attention changes most, for a change in each cell.

    Patches that overlap need several images until each cell has a token of its own. If several cells still change one
    token most, the assignment with the largest product of changes is returned, once further images do not change it.
    """
    total, assigned = torch.zeros(()), list[list[int]]()
    while len(assigned) < ROUNDS and not (assigned and assigned[-STABLE:] == assigned[-1:] * STABLE):
        total = total + responses(built, images, grid)
        share = (total / total.mean(0)).nan_to_num()
        tokens = share.argmax(1)
        if len(tokens.unique()) == len(tokens):
            break
        tokens = torch.as_tensor(linear_sum_assignment(share.clamp_min(1e-9).log(), maximize=True)[1])
        assigned.append(tokens.tolist())
        images = torch.randn_like(images)
    return tokens.unflatten(0, tuple(grid))


def responses(built: Built, images: Tensor, grid: Sequence[int]) -> Tensor:
    """Return how much the row of each of N tokens changes, for a change in each cell: [h*w,N]."""
    rows, columns = (pairwise(edges(side, cells)) for side, cells in zip(images.shape[-2:], grid, strict=True))
    areas = [(..., slice(*row), slice(*column)) for row, column in product(rows, columns)]
    found: list[Tensor] = []
    for part in batched(areas, AT_ONCE // len(images)):
        changed = images.expand(len(part), *images.shape).clone()
        for each, area in zip(changed, part, strict=True):
            each[area] = torch.randn_like(images[area])
        logits = first_logits(built, torch.cat([images, changed.flatten(0, 1)])).unflatten(0, (-1, len(images)))
        found += (logits[1:] - logits[0]).square().sum((1, 2, 4))
    return torch.stack(found)


def batched(areas: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(areas), size):
        yield areas[start : start + size]


def edges(side: int, cells: int) -> list[int]:
    """Return the pixels at which cells begin and end."""
    return [side * cell // cells for cell in range(cells + 1)]


@torch.no_grad()
def first_logits(built: Built, images: Tensor) -> Tensor:
    """Return the logits [B,heads,N,N] of the first attention, zero where it is masked."""
    with plain_attention() as plain:
        built(images)
    logits = next(heads for heads in (with_heads(each, images) for each in plain.logits) if len(heads) == len(images))
    return logits.masked_fill(logits < -1e30, 0)
