"""Adapters of plugins that misbehave are skipped, and what they did to the model is undone."""

import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.misbehaving import fail, loop
from support.models import made, three_images
from support.observing import everything
from xai_core.errors import PluginContractError, PluginWarning, SideEffectError, TimeLimitError
from xai_core.isolation.error_context import message_with_notes, responsible_call, weights_changed
from xai_core.plugin import Probe

Deed = Callable[[nn.Module], Any]
METHODS = ["grad-cam", "saliency"]


def plugin(deed: Deed, where: str) -> tuple[type[xai.ModelAdapter], Any]:
    """Return an adapter that does something with the model in one of its members, and a plugin that provides it."""

    class Odd(xai.ModelAdapter):
        calls = 0

        @classmethod
        def suits(cls, model: nn.Module, probe: Probe) -> bool:
            cls.calls += 1
            if where == "suits":
                deed(model)
            return True

        def __init__(self, model: nn.Module, probe: Probe) -> None:
            super().__init__(model, probe)
            if where == "constructor":
                deed(model)

        @property
        def default_layer(self) -> str:
            if where == "property":
                deed(self.model)
            return super().default_layer

        def spatial(self, tensor: Tensor, layer: str) -> Tensor:
            if where == "method":
                deed(self.model)
            return super().spatial(tensor, layer)

    class TheirPlugin:
        @xai.hookimpl
        def xai_adapters(self) -> list[type[xai.ModelAdapter]]:
            return [Odd]

    return Odd, TheirPlugin()


def zero_output(model: nn.Module) -> None:
    model.register_forward_hook(lambda module, args, output: output * 0)


DEEDS: dict[str, tuple[Deed, str]] = {
    "hook": (zero_output, "SideEffectError: .*Odd of TheirPlugin changed the model: a forward hook on"),
    "freeze": (lambda model: model.requires_grad_(False), "SideEffectError: .* changed the model: requires_grad of"),
    "loop": (loop, r"TimeLimitError: .*Odd of TheirPlugin took longer than 0\.2 s"),
    "sleep": (lambda model: time.sleep(60), r"TimeLimitError: .*Odd of TheirPlugin took longer than 0\.2 s"),
}


@pytest.mark.parametrize(("deed", "reason"), DEEDS.values(), ids=DEEDS)
@pytest.mark.parametrize("where", ["suits", "constructor", "property"])
def test_an_adapter_that_misbehaves_is_skipped_once(deed: Deed, reason: str, where: str) -> None:
    model = made("cnn")
    alone, before = xai.Engine(model).explain(three_images(), METHODS), everything(model)
    odd, theirs = plugin(deed, where)
    engine = xai.Engine(model, plugins=theirs, time_limit=0.2)
    methods = [xai.create_explainer(name) for name in METHODS]
    with pytest.warns(PluginWarning, match=f"Odd of TheirPlugin failed and was skipped: {reason}"):
        found = engine.explain(three_images(), methods)
    assert all(torch.equal(found[name].raw, alone[name].raw) for name in METHODS)
    assert everything(model) == before
    with warnings.catch_warnings():
        warnings.simplefilter("error", PluginWarning)
        engine.explain(torch.randn(1, 3, 32, 48), methods)
    assert odd.calls == 1


def test_an_adapter_that_loops_in_another_thread_is_skipped() -> None:
    _, theirs = plugin(loop, "suits")

    def work() -> bool:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            xai.Engine(made("cnn"), plugins=theirs, time_limit=0.2).adapter(three_images())
        return any("took longer than 0.2 s" in str(each.message) for each in caught)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(work).result()


@pytest.mark.parametrize("where", ["suits", "constructor", "property"])
def test_an_adapter_that_changes_weights_is_an_error_once(where: str) -> None:
    model = made("cnn")

    def change(model: Any) -> None:
        with torch.no_grad():
            model.head.bias.add_(1)

    odd, theirs = plugin(change, where)
    engine, explainer = xai.Engine(model, plugins=theirs), xai.create_explainer("grad-cam")
    with pytest.raises(SideEffectError, match=r"Odd of .* changed the model: other values of head\.bias") as raised:
        engine.explain(three_images(), explainer)
    assert weights_changed(raised.value)
    assert responsible_call(raised.value).plugin_object is odd
    assert engine.explain(three_images(), explainer)


@pytest.mark.parametrize("where", ["property", "method"])
def test_an_exception_in_an_adapter_names_the_adapter(where: str) -> None:
    odd, theirs = plugin(fail, where)
    engine, explainer = xai.Engine(made("cnn"), plugins=theirs), xai.create_explainer("grad-cam")
    with pytest.raises(RuntimeError, match="not today") as raised:
        engine.explain(three_images(), explainer)
    assert responsible_call(raised.value).plugin_object is odd
    assert message_with_notes(raised.value).endswith("Odd' of TheirPlugin)")
    assert "grad-cam" not in message_with_notes(raised.value)


def test_a_method_of_an_adapter_that_loops_names_the_adapter() -> None:
    odd, theirs = plugin(loop, "method")
    engine = xai.Engine(made("cnn"), plugins=theirs, time_limit=0.1)
    with pytest.raises(TimeLimitError) as raised:
        engine.explain(three_images(), xai.create_explainer("grad-cam"))
    assert responsible_call(raised.value).plugin_object is odd


@pytest.mark.parametrize("method", ["grad-cam", "eigen-cam"])
def test_an_adapter_that_writes_to_a_captured_tensor_is_named(method: str) -> None:
    odd, theirs = plugin(lambda model: None, "")
    odd.spatial = lambda self, tensor, layer: tensor.relu_()  # type: ignore[assignment,method-assign]
    engine = xai.Engine(made("cnn"), plugins=theirs)
    with pytest.raises(PluginContractError, match="`spatial` of the adapter Odd wrote in place to a captured tensor"):
        engine.explain(three_images(), xai.create_explainer(method))


def test_an_exception_of_an_explainer_does_not_name_the_adapter() -> None:
    _, theirs = plugin(lambda model: None, "method")

    class Failing(xai.Explainer):
        name = "failing"

        def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
            return xai.Needs((adapter.default_layer,))

        def explain(self, captured: xai.Captured) -> Tensor:
            return fail(captured.activation())

    with pytest.raises(RuntimeError, match="not today") as raised:
        xai.Engine(made("cnn"), plugins=theirs).explain(three_images(), Failing())
    assert responsible_call(raised.value).key == "failing"
