"""The conformance checks of explainers: each finds an implementation that violates it, and a correct one passes."""

import itertools
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
    """Explainer that does not store its option."""

    def __init__(self, power: float = 1.0) -> None:
        pass


class Otherwise(GoodExplainer):
    """Explainer that stores another value of its option."""

    def __init__(self, power: int = 1) -> None:
        self.power = power + 1


def supports_nothing(self: xai.Explainer, adapter: xai.ModelAdapter) -> xai.Needs:
    raise UnsuitableError("never")


def hooked(captured: xai.Captured, relevance: Tensor) -> Tensor:
    captured.adapter.model.register_forward_hook(lambda *_: None)
    return relevance


def writes_weights(captured: xai.Captured, relevance: Tensor) -> Tensor:
    next(captured.adapter.model.parameters()).data += 1e-3
    return relevance


def writes_activations(captured: xai.Captured, relevance: Tensor) -> Tensor:
    captured.activation().relu_()
    return relevance


def writes_images(captured: xai.Captured, relevance: Tensor) -> Tensor:
    captured.images.data.mul_(0)  # which no version counter shows
    return relevance


def calls_the_model(captured: xai.Captured, relevance: Tensor) -> Tensor:
    captured.adapter.model(captured.images)
    return relevance


def asks_for_attention(captured: xai.Captured, relevance: Tensor) -> Tensor:
    return relevance + len(captured.attention)


def seeds_globally(captured: xai.Captured, relevance: Tensor) -> Tensor:
    torch.manual_seed(0)
    return relevance + torch.rand(relevance.shape)


def draws_from_numpy(captured: xai.Captured, relevance: Tensor) -> Tensor:
    np.random.rand()
    return relevance


def depends_on_precision(captured: xai.Captured, relevance: Tensor) -> Tensor:
    half = next(captured.adapter.model.parameters()).dtype == torch.bfloat16
    return relevance.flip(1, 2) if half else relevance


def depends_on_requires_grad(captured: xai.Captured, relevance: Tensor) -> Tensor:
    asks = any(parameter.requires_grad for parameter in captured.adapter.model.parameters())
    return relevance if asks else relevance.flip(2)


def depends_on_in_place(captured: xai.Captured, relevance: Tensor) -> Tensor:
    writes = any(getattr(module, "inplace", False) for module in captured.adapter.model.modules())
    return relevance.flip(2) if writes else relevance


def many_forward_passes(captured: xai.Captured, relevance: Tensor) -> Tensor:
    for _ in range(3):
        captured.model_score(captured.images)
    return relevance


HERE = "test_explainer_checks.py"
SIGNS = itertools.cycle((1, -1))
STORED: list[Tensor] = []


def stores_maps(captured: xai.Captured, relevance: Tensor) -> Tensor:
    STORED.append(relevance.clone())
    return relevance


class Shared(GoodExplainer):
    """Explainer that stores an intermediate result in an attribute, so that threads overwrite each other's result."""

    def explain(self, captured: xai.Captured) -> Tensor:
        self.intermediate = super().explain(captured)
        for _ in range(20):
            captured.model_score(captured.images)
        relevance = self.intermediate
        del self.intermediate
        return relevance

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
        (explainer(needs=supports_nothing), "provide a model that the explainer supports"),
        (explainer(needs=lambda self, adapter: ["layer"]), "must return xai_core.Needs"),
    ],
    "returns_one_map_per_image": [
        (explainer(lambda captured, relevance: relevance[:, None]), "must return floating-point relevance"),
        (explainer(lambda captured, relevance: relevance[:1]), "must return floating-point relevance"),
        (explainer(lambda captured, relevance: relevance.bool()), "must return floating-point relevance"),
        (explainer(lambda captured, relevance: relevance / 0), "NaN or infinity"),
        (explainer(lambda captured, relevance: torch.ones_like(relevance)), "every map is constant"),
        (explainer(lambda captured, relevance: relevance.to("meta")), "meta"),
    ],
    "supports_non_square_images": [
        (explainer(lambda captured, relevance: relevance.mT), "is 16x8|is 8x4"),
        (explainer(lambda captured, relevance: relevance.flatten(1).unflatten(1, (4, 4))), "unflatten"),
    ],
    "batch_matches_single_images": [
        (explainer(lambda captured, relevance: relevance - relevance.mean(0)), "image 0 alone and in a batch"),
    ],
    "depends_on_target_as_declared": [
        (explainer(lambda captured, relevance: captured.activation().sum(1)), "targeted = False"),
        (explainer(targeted=False), "`targeted` is false"),
    ],
    "is_deterministic": [
        (explainer(lambda captured, relevance: relevance * next(SIGNS)), "two calls differ"),
        (explainer(seeds_globally), "random state of PyTorch"),
        (explainer(draws_from_numpy), "random state of NumPy"),
        (explainer(lambda captured, relevance: relevance * (1 + random.random())), "two calls differ"),
    ],
    "leaves_model_unchanged": [
        (explainer(hooked), "hook"),
        (explainer(writes_weights), "values|weights"),
    ],
    "leaves_inputs_unchanged": [
        (explainer(writes_activations), "writes to the activations"),
        (explainer(writes_images), "writes to the images"),
    ],
    "uses_only_declared_needs": [
        (explainer(asks_for_attention), "did not request attention"),
        (explainer(calls_the_model), "called directly"),
    ],
    "supports_frozen_parameters": [(explainer(depends_on_requires_grad), "with and without frozen")],
    "supports_bfloat16": [(explainer(depends_on_precision), "correlation of")],
    "supports_in_place_activations": [(explainer(depends_on_in_place), "with and without in-place")],
    "avoids_host_transfers": [
        (
            explainer(lambda captured, relevance: relevance * relevance.amax().item()),
            f"{HERE}.*local_scalar_dense",
        ),
        (
            explainer(lambda captured, relevance: relevance * max(relevance.amax((1, 2)).tolist())),
            f"{HERE}.*tolist",
        ),
        (explainer(lambda captured, relevance: torch.from_numpy(relevance.numpy())), f"{HERE}.*numpy"),
        (explainer(lambda captured, relevance: relevance.cpu()), f"{HERE}.*cpu"),
        (explainer(lambda captured, relevance: relevance if relevance.amax() > 0 else -relevance), HERE),
        (explainer(lambda captured, relevance: relevance - relevance[relevance > 0].mean()), f"{HERE}.*index"),
    ],
    "retains_no_tensors": [(explainer(stores_maps), "bytes of tensors remain")],
    "is_thread_safe": [(Shared(), "intermediate|with one thread and with two")],
    "declares_forward_passes": [
        (explainer(many_forward_passes), "takes 4 forward passes, but `forward_passes` returns 1")
    ],
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
