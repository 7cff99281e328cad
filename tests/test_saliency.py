"""Saliency of several targets, and the threshold below which a map counts as constant."""

import pytest
import torch

import xai_core as xai
from xai_core.saliency import Relevance
from xai_core.targets.target import BoundTarget


def some_target() -> BoundTarget:
    return BoundTarget(lambda output, of, kind: output[:, 0], 2)


def saliency_with_parts(seed: int) -> xai.Saliency:
    numbers = torch.Generator().manual_seed(seed)
    relevance = Relevance(
        torch.randn(2, 4, 4, generator=numbers),
        parts=torch.randn(2, 3, 4, 4, generator=numbers),
        weights=torch.randn(2, 5, generator=numbers),
    )
    return xai.Saliency.of(relevance, 2, (8, 8), some_target(), "some-method")


def test_saliency_of_several_targets_keeps_the_parts_and_weights_of_each() -> None:
    single = [saliency_with_parts(seed) for seed in (0, 1)]
    together = xai.Saliency.of_targets(single)
    assert together.parts is not None
    assert together.parts.shape == (2, 2, 3, 4, 4)
    assert together.weights is not None
    assert together.weights.shape == (2, 2, 5)
    for alone, one in zip(single, together.each, strict=True):
        for name in ("values", "raw", "constant", "parts", "weights"):
            assert torch.equal(getattr(one, name), getattr(alone, name)), name
        assert one.target is alone.target


@pytest.mark.parametrize("magnitude", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize(("spread", "constant"), [(0.0, True), (3e-7, True), (1e-5, False), (1e-3, False)])
def test_a_map_is_constant_if_its_range_is_rounding(magnitude: float, spread: float, constant: bool) -> None:
    raw = magnitude * (1 + spread * torch.linspace(0, 1, 16)).view(1, 4, 4)
    saliency = xai.Saliency.of(raw.repeat(2, 1, 1), 2, (4, 4), some_target(), "some-method")
    assert saliency.constant.tolist() == [constant] * 2
    assert saliency.values.amax().item() == (0 if constant else 1)
