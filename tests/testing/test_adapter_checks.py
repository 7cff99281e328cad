"""The conformance checks of adapters: each finds an implementation that violates it, and a correct one passes."""

from collections.abc import Iterator
from typing import Any

import pytest
from torch import Tensor, nn

import xai_core as xai
from support.conformance import assert_described, assert_finds, assert_passes, violations
from xai_core.plugin import Probe
from xai_core.testing import Check, adapters, check_adapter
from xai_core.testing.networks import convolutional_network


class Wrapping(nn.Module):
    """Network with scores inside nested dictionaries, which no built-in adapter supports."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = convolutional_network(inplace=False)

    def forward(self, images: Tensor) -> dict[str, dict[str, Tensor]]:
        return {"heads": {"classes": self.inner(images)}}


class GoodAdapter(xai.ModelAdapter):
    """Adapter of networks with nested scores."""

    @classmethod
    def suits(cls, model: nn.Module, probe: Probe) -> bool:
        return isinstance(model, Wrapping)

    @property
    def default_layer(self) -> str:
        return "inner.last"

    def scores(self, output: Any) -> Tensor:
        return output["heads"]["classes"]


def adapter(**attributes: Any) -> type[xai.ModelAdapter]:
    return type("Bad", (GoodAdapter,), {"__doc__": "Bad.", **attributes})


def always(given: object) -> Any:
    return classmethod(lambda cls, model, probe: given)


def gone(*_: Any) -> Any:
    raise LookupError("nothing")


def leaves_a_hook(self: xai.ModelAdapter, model: nn.Module, probe: Probe) -> None:
    xai.ModelAdapter.__init__(self, model, probe)
    model.register_forward_hook(lambda *_: None)


def writes_to_scores(self: xai.ModelAdapter, output: Any) -> Tensor:
    return output["heads"]["classes"].mul_(2)


BAD_ADAPTERS: dict[str, list[tuple[type[xai.ModelAdapter], str]]] = {
    "has_docstring": [(adapter(__doc__=None), "has no docstring")],
    "supports_its_model": [(adapter(suits=always(False)), "returned False"), (adapter(suits=always(1)), "returned 1")],
    "rejects_other_models": [(adapter(suits=always(True)), "which a built-in adapter supports")],
    "default_layer_is_valid": [(adapter(default_layer="nowhere"), "must be the name of a module")],
    "spatial_is_channels_first": [
        (adapter(spatial=lambda self, tensor, layer: tensor.flatten(2)), r"must return \[B,K,h,w\]")
    ],
    "substitute_inverts_spatial": [
        (adapter(substitute=lambda self, tensor, maps, layer: tensor), "must return `maps` unchanged"),
        (adapter(substitute=lambda self, tensor, maps, layer: maps + 1), "must return a tensor equal to"),
    ],
    "leaves_outputs_unchanged": [
        (adapter(spatial=lambda self, tensor, layer: tensor.mul_(2)), "wrote in place"),
        (adapter(substitute=lambda self, tensor, maps, layer: tensor.copy_(maps + 1)), "wrote in place"),
        (adapter(scores=writes_to_scores), "wrote in place"),
    ],
    "scores_returns_class_scores": [
        (adapter(scores=lambda self, output: output["heads"]["classes"][0]), "`scores` must return"),
        (adapter(scores=lambda self, output: output), "`scores` must return"),
    ],
    "readout_is_valid": [
        (adapter(readout=slice(0, 1)), "must be a tuple of token weights"),
        (adapter(readout=(0.5, 0.25)), "whose sum is 1"),
    ],
    "engine_explains_its_model": [
        (adapter(scores=gone), "nothing"),
        (adapter(__init__=leaves_a_hook), "a forward hook on"),
    ],
}


def check_wrapping_adapter(made_by: Any) -> Iterator[Check]:
    return check_adapter(made_by, Wrapping().eval())


def test_an_implementation_that_keeps_the_contract_passes() -> None:
    assert_passes(check_wrapping_adapter(GoodAdapter))


def test_checks_describe_themselves() -> None:
    assert_described(check_wrapping_adapter(GoodAdapter))


def test_every_check_has_a_violation() -> None:
    assert list(BAD_ADAPTERS) == [check.__name__ for check in adapters.CHECKS]
    assert all(BAD_ADAPTERS.values())


@pytest.mark.parametrize(("name", "subject", "reason"), violations(BAD_ADAPTERS))
def test_a_violation_is_found(name: str, subject: Any, reason: str) -> None:
    assert_finds(check_wrapping_adapter(subject), name, reason)
