"""Rollout and generic attention in float64, from whole matrices of attention that is computed in plain operations."""

import copy
from functools import reduce

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from support.explicit_attention import Plain
from support.strange import Attends, Strange


def matrices(model: Strange) -> tuple[list[Tensor], list[Tensor]]:
    """Every attention matrix [B,heads,N,N] in the order of the calls, and the gradient of the target's scores there."""
    built = copy.deepcopy(model.build()).double()
    for module in built.modules():
        if isinstance(module, nn.TransformerEncoderLayer | nn.MultiheadAttention):
            module.train()  # off its fast path; dropout is zero in these models
    book = Plain()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "scaled_dot_product_attention", book.scaled_dot_product)
        patch.setattr(F, "multi_head_attention_forward", book.multi_head)
        scores = model.score(model.forward(built, model.images().double()))
    gradients = torch.autograd.grad(scores.sum(), book.matrices, allow_unused=True)
    filled = [torch.zeros_like(m) if g is None else g for m, g in zip(book.matrices, gradients, strict=True)]
    return [matrix.detach() for matrix in book.matrices], filled


def rollout(model: Strange) -> Tensor:
    """[B,h,w]: the product of rownorm(A + I), with A the mean over heads, and over matrices of the same tokens."""
    attends = _chained(model)
    by_call, _ = matrices(model)
    stages = [torch.stack([by_call[call].mean(1) for call in stage]).mean(0) for stage in attends.stages]
    identity = torch.eye(len(attends.row), dtype=torch.float64)
    rolled = reduce(lambda product, stage: (stage + identity) / 2 @ product, stages, identity)
    return _map(attends, rolled)


def generic_attention(model: Strange) -> Tensor:
    """[B,h,w]: R <- R + A R from R = I, with A the mean over heads of (dy/dA * A)^+, and over parallel matrices."""
    attends = _chained(model)
    relevance = [(matrix * gradient).relu().mean(1) for matrix, gradient in zip(*matrices(model), strict=True)]
    stages = [torch.stack([relevance[call] for call in stage]).mean(0) for stage in attends.stages]
    identity = torch.eye(len(attends.row), dtype=torch.float64)
    product = reduce(lambda product, stage: product + stage @ product, stages, identity)
    return _map(attends, product - identity)


def _chained(model: Strange) -> Attends:
    assert isinstance(model.rollout, Attends)
    return model.rollout


def _map(attends: Attends, product: Tensor) -> Tensor:
    return (attends.row.double() @ product)[:, attends.cells]
