"""The weights of the tokens that a head reads, from the gradient of a score at the tokens."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from xai_core.model.readout import Readout

PATCHES = range(2, 6)
"""Two tokens without a location, and four patches."""
A, B, C = torch.randn(3, 8)

HEADS: dict[str, tuple[Callable[[Tensor], Tensor], list[float]]] = {
    "class token": (lambda x: x[0] @ A, [1, 0, 0, 0, 0, 0]),
    "second token": (lambda x: x[1] @ A, [0, 1, 0, 0, 0, 0]),
    "one patch": (lambda x: x[3] @ A, [0, 0, 0, 1, 0, 0]),
    "two patches": (lambda x: x[3] @ A + x[5] @ B, [0, 0, 0, 0.5, 0, 0.5]),
    "mean of all": (lambda x: x.mean(0) @ A, [1 / 6] * 6),
    "mean of patches": (lambda x: x[2:].mean(0) @ A, [0, 0, 0.25, 0.25, 0.25, 0.25]),
    "two tokens": (lambda x: x[0] @ A + x[1] @ B, [0.5, 0.5, 0, 0, 0, 0]),
    "class token beside mean": (lambda x: x[0] @ A + x[2:].mean(0) @ B, [0.5, 0, 0.125, 0.125, 0.125, 0.125]),
    "class token plus mean": (lambda x: (x[0] + x[2:].mean(0)) @ A, [0.5, 0, 0.125, 0.125, 0.125, 0.125]),
    "two tokens beside mean": (lambda x: x[0] @ A + x[1] @ B + x[2:].sum(0) @ C, [1 / 3, 1 / 3, *[1 / 12] * 4]),
    "maximum over patches": (lambda x: x[2:].amax(0) @ A, [0, 0, 0.25, 0.25, 0.25, 0.25]),
    "power mean of patches": (lambda x: x[2:].exp().mean(0).log() @ A, [0, 0, 0.25, 0.25, 0.25, 0.25]),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
def test_weights(name: str) -> None:
    head, expected = HEADS[name]
    tokens = nn.Parameter(torch.randn(6, 8))
    (gradient,) = torch.autograd.grad(head(tokens), tokens)
    readout = Readout.of(gradient, PATCHES)
    assert readout.weights == pytest.approx(expected)
    assert sum(readout.weights) == pytest.approx(1)


def test_the_usual_readout_without_a_gradient() -> None:
    assert Readout.usual(6, PATCHES).weights == (1, 0, 0, 0, 0, 0)
    assert Readout.usual(4, range(4)).weights == (0.25,) * 4
    assert Readout.usual(5, range(4)).weights == (0, 0, 0, 0, 1)
