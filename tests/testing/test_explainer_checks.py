"""The conformance checks of explainers: each finds an implementation that violates it, and a correct one passes."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import xai_core as xai
from support.conformance import GoodExplainer, assert_described, assert_finds, assert_passes, explainer, violations
from xai_core.errors import UnsuitableError
from xai_core.testing import (
    check_explainer,
    explainers,
)


class Forgetful(GoodExplainer):
    """Forgets its option."""

    def __init__(self, power: float = 1.0) -> None:
        pass


class Otherwise(GoodExplainer):
    """Keeps its option as another value."""

    def __init__(self, power: int = 1) -> None:
        self.power = power + 1


def unsuited(self: xai.Explainer, adapter: xai.ModelAdapter) -> xai.Needs:
    raise UnsuitableError("never")


def hooked(captured: xai.Captured, given: Tensor) -> Tensor:
    captured.adapter.model.register_forward_hook(lambda *_: None)
    return given


def writes_weights(captured: xai.Captured, given: Tensor) -> Tensor:
    next(captured.adapter.model.parameters()).data += 1e-3
    return given


def own_forward(captured: xai.Captured, given: Tensor) -> Tensor:
    captured.adapter.model(captured.images)
    return given


def asks_for_attention(captured: xai.Captured, given: Tensor) -> Tensor:
    return given + len(captured.attention)


def seeds_globally(captured: xai.Captured, given: Tensor) -> Tensor:
    torch.manual_seed(0)
    return given + torch.rand(given.shape)


def draws_from_numpy(captured: xai.Captured, given: Tensor) -> Tensor:
    np.random.rand()
    return given


def depends_on_precision(captured: xai.Captured, given: Tensor) -> Tensor:
    half = next(captured.adapter.model.parameters()).dtype == torch.bfloat16
    return given.flip(1, 2) if half else given


def depends_on_requires_grad(captured: xai.Captured, given: Tensor) -> Tensor:
    asks = any(parameter.requires_grad for parameter in captured.adapter.model.parameters())
    return given if asks else given.flip(2)


def depends_on_in_place(captured: xai.Captured, given: Tensor) -> Tensor:
    writes = any(getattr(module, "inplace", False) for module in captured.adapter.model.modules())
    return given.flip(2) if writes else given


def many_forwards(captured: xai.Captured, given: Tensor) -> Tensor:
    for _ in range(3):
        captured.model_score(captured.images)
    return given


HERE = "test_explainer_checks.py"
KEPT: list[Tensor] = []


def keeps(captured: xai.Captured, given: Tensor) -> Tensor:
    KEPT.append(given.clone())
    return given


class Shared(GoodExplainer):
    """Keeps what it works on in an attribute, between two steps that another thread may come between."""

    def explain(self, captured: xai.Captured) -> Tensor:
        self.at_work = super().explain(captured)
        for _ in range(20):
            captured.model_score(captured.images)
        given = self.at_work
        del self.at_work
        return given

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        return 21


BAD_EXPLAINERS: dict[str, list[tuple[xai.Explainer, str]]] = {
    "has_valid_name": [
        (explainer(name="My CAM"), "lower case with hyphens"),
        (explainer(__doc__=None), "has no docstring"),
    ],
    "spec_round_trips": [
        (Forgetful(), "'power' must be stored"),
        (Otherwise(), "has a different spec"),
    ],
    "supports_a_model": [
        (explainer(needs=unsuited), "provide a model that the explainer supports"),
        (explainer(needs=lambda self, adapter: ["layer"]), "must return xai_core.Needs"),
    ],
    "returns_one_map_per_image": [
        (explainer(lambda captured, given: given[:, None]), "must return floating-point relevance"),
        (explainer(lambda captured, given: given[:1]), "must return floating-point relevance"),
        (explainer(lambda captured, given: given.bool()), "must return floating-point relevance"),
        (explainer(lambda captured, given: given / 0), "NaN or infinity"),
        (explainer(lambda captured, given: torch.ones_like(given)), "every map is constant"),
        (explainer(lambda captured, given: given.to("meta")), "meta"),
    ],
    "supports_non_square_images": [
        (explainer(lambda captured, given: given.mT), "is 16x8|is 8x4"),
        (explainer(lambda captured, given: given.flatten(1).unflatten(1, (4, 4))), "unflatten"),
    ],
    "batch_matches_single_images": [
        (explainer(lambda captured, given: given - given.mean(0)), "image 0 alone and in a batch"),
    ],
    "depends_on_target_as_declared": [
        (explainer(lambda captured, given: captured.activation().sum(1)), "targeted = False"),
        (explainer(targeted=False), "`targeted` is false"),
    ],
    "is_deterministic": [
        (explainer(lambda captured, given: given + torch.rand(given.shape)), "two calls differ"),
        (explainer(seeds_globally), "generators of torch"),
        (explainer(draws_from_numpy), "generators of numpy"),
        (explainer(lambda captured, given: given * (1 + random.random())), "two calls differ"),
    ],
    "leaves_model_unchanged": [
        (explainer(hooked), "hook"),
        (explainer(writes_weights), "values|weights"),
    ],
    "uses_only_declared_needs": [
        (explainer(asks_for_attention), "did not ask for attention"),
        (explainer(own_forward), "called directly"),
    ],
    "supports_frozen_parameters": [(explainer(depends_on_requires_grad), "with and without frozen")],
    "supports_bfloat16": [(explainer(depends_on_precision), "correlation of")],
    "supports_in_place_activations": [(explainer(depends_on_in_place), "with and without in-place")],
    "avoids_host_transfers": [
        (
            explainer(lambda captured, given: given * given.amax().item()),
            f"{HERE}.*local_scalar_dense",
        ),
        (
            explainer(lambda captured, given: given * max(given.amax((1, 2)).tolist())),
            f"{HERE}.*tolist",
        ),
        (explainer(lambda captured, given: torch.from_numpy(given.numpy())), f"{HERE}.*numpy"),
        (explainer(lambda captured, given: given.cpu()), f"{HERE}.*cpu"),
        (explainer(lambda captured, given: given if given.amax() > 0 else -given), HERE),
        (explainer(lambda captured, given: given - given[given > 0].mean()), f"{HERE}.*index"),
    ],
    "retains_no_tensors": [(explainer(keeps), "bytes of tensors remain")],
    "is_thread_safe": [(Shared(), "at_work|with one thread and with two")],
    "declares_forward_passes": [(explainer(many_forwards), "takes 4 forward passes, but `forward_passes` returns 1")],
}


def test_an_implementation_that_keeps_the_contract_passes() -> None:
    assert_passes(check_explainer(GoodExplainer))


def test_checks_describe_themselves() -> None:
    assert_described(check_explainer(GoodExplainer))


def test_every_check_has_a_violation() -> None:
    assert list(BAD_EXPLAINERS) == [check.__name__ for check in explainers.CHECKS]
    assert all(BAD_EXPLAINERS.values())


@pytest.mark.parametrize(("name", "subject", "reason"), violations(BAD_EXPLAINERS))
def test_a_violation_is_found(name: str, subject: Any, reason: str) -> None:
    assert_finds(check_explainer(subject), name, reason)
