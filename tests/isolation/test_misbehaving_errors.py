"""Exceptions of plugins that cannot be printed or annotated, or that several plugins raise, disturb no guard."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import pytest
import torch

import xai_core as xai
from support.misbehaving import TheirCAM, TheirScore, loop
from support.models import made, three_images
from xai_core.errors import PluginContractError, SideEffectError, TimeLimitError
from xai_core.isolation.error_context import message_with_notes, responsible_call, weights_changed

pytestmark = pytest.mark.usefixtures("their_plugin")


def refuse(*_: Any) -> NoReturn:
    raise RuntimeError("no")


@dataclass(frozen=True)
class Frozen(Exception):
    """Rejects every assignment, also that of a traceback."""

    reason: str = "frozen"


def unusual(**members: Any) -> Exception:
    error: Exception = type("Unusual", (Exception,), members)("not today")
    return error


UNUSUAL: dict[str, Callable[[], Exception]] = {
    "str": lambda: unusual(__str__=refuse),
    "str that exits": lambda: unusual(__str__=lambda self: sys.exit()),
    "str of another type": lambda: unusual(__str__=lambda self: 3),
    "repr": lambda: unusual(__repr__=refuse),
    "dict": lambda: unusual(__dict__=property(refuse)),
    "class": lambda: unusual(__class__=property(refuse)),
    "attributes": lambda: unusual(__getattribute__=refuse),
    "assignment": lambda: unusual(__setattr__=refuse),
    "frozen": Frozen,
}
"""Constructors, because pytest reads the attributes of parameters."""
ANNOTATED: dict[str, Callable[[], Exception]] = {
    "notes": lambda: unusual(__notes__=property(refuse)),
    "text as notes": lambda: unusual(__notes__="a text"),
    "add_note": lambda: unusual(add_note=refuse),
}


def raising(error: BaseException) -> Callable[[Any], Any]:
    def give(maps: Any) -> Any:
        raise error

    return give


def hooking(maps: Any, model: Any) -> Any:
    model.register_forward_hook(lambda *_: None)
    return maps


@pytest.mark.parametrize("make", UNUSUAL.values(), ids=UNUSUAL)
def test_an_unusual_exception_is_replaced_and_the_guard_still_works(make: Callable[[], Exception]) -> None:
    model, error = made("cnn"), make()
    engine = xai.Engine(model)

    def give(maps: Any) -> Any:
        return raising(error)(hooking(maps, model))

    explainer, metric = TheirCAM(give), TheirScore(give)
    maps = engine.explain(three_images(), "grad-cam")
    message = f"^their-.* raised an exception that cannot be printed or annotated, {type(error).__name__}[:;] "
    for call, plugin in (
        (lambda: engine.explain(three_images(), explainer), explainer),
        (lambda: engine.evaluate(three_images(), maps, metric), metric),
    ):
        with pytest.raises(PluginContractError, match=message) as raised:
            call()
        assert responsible_call(raised.value).plugin_object is plugin
        assert "a forward hook on" in message_with_notes(raised.value)
    with pytest.raises(SideEffectError, match=r"their-cam .* a forward hook on"):
        engine.explain(three_images(), TheirCAM(lambda maps: hooking(maps, model)))
    assert torch.equal(engine.explain(three_images(), "grad-cam")["grad-cam"].raw, maps["grad-cam"].raw)


@pytest.mark.parametrize("make", ANNOTATED.values(), ids=ANNOTATED)
def test_unusual_notes_are_no_obstacle(make: Callable[[], Exception]) -> None:
    error = make()
    with pytest.raises(type(error)) as raised:
        xai.Engine(made("cnn")).explain(three_images(), TheirCAM(raising(error)))
    assert raised.value is error
    assert message_with_notes(error) == "not today (raised by explainer 'their-cam' of their-cam 2.3)"


def test_a_message_that_takes_too_long_is_interrupted() -> None:
    engine = xai.Engine(made("cnn"), time_limit=0.05)
    with pytest.raises(TimeLimitError, match=r"their-cam of their-cam 2\.3 took longer"):
        engine.explain(three_images(), TheirCAM(raising(unusual(__str__=loop))))


class Other(TheirCAM):
    """Another explainer."""

    name = "other"


def test_an_exception_that_several_plugins_raise_names_the_last() -> None:
    model, error = made("cnn"), RuntimeError("not today")

    def change(maps: Any) -> Any:
        model.head.bias.data = model.head.bias.data + 1
        raise error

    first, second = TheirCAM(change), Other(raising(error))
    for explainer, note, changed in (
        (first, "raised by explainer 'their-cam' of their-cam 2.3", True),
        (second, "raised by explainer 'other'", False),
    ):
        with pytest.raises(RuntimeError) as raised:
            xai.Engine(model).explain(three_images(), explainer)
        assert raised.value is error
        assert responsible_call(error).plugin_object is explainer
        assert error.__notes__[0] == note
        assert len(error.__notes__) == 1 + changed
        assert weights_changed(error) == changed


def test_an_exception_of_an_earlier_call_names_the_method_that_a_metric_calls() -> None:
    engine, error, calls = xai.Engine(made("cnn")), RuntimeError("not today"), list[int]()

    def give(maps: Any) -> Any:
        calls.append(1)
        return maps if len(calls) == 1 else raising(error)(maps)

    explainer = TheirCAM(give)
    maps = engine.explain(three_images(), explainer)
    with pytest.raises(RuntimeError):
        engine.explain(three_images(), Other(raising(error)))
    with pytest.raises(RuntimeError) as raised:
        engine.evaluate(three_images(), maps, "max-sensitivity:samples=1")
    assert responsible_call(raised.value).plugin_object is explainer
    assert raised.value.__notes__ == ["raised by explainer 'their-cam' of their-cam 2.3"]
