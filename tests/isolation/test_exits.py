"""Exceptions that would end the process are errors that name the plugin. Ctrl-C still ends the run."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import xai_core as xai
from support.benchmark_runs import TWO, Speckles, run, same
from support.misbehaving import TheirCAM, TheirScore
from support.models import made, three_images
from xai_core.errors import PluginContractError, TimeLimitError
from xai_core.isolation.error_context import message_with_notes, responsible_call

pytestmark = pytest.mark.usefixtures("their_plugin")


class Ending(BaseException):
    """Is no `Exception`."""


def raising(error: BaseException) -> Callable[[Any], Any]:
    def give(maps: Any) -> Any:
        raise error

    return give


def interrupt(given: Any) -> Any:
    """Press Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)


def recurse(given: Any) -> Any:
    return recurse(given)


def exhaust(given: Any) -> Any:
    return bytearray(2**62)


ENDING: dict[str, tuple[Callable[[Any], Any], str]] = {
    "exit": (lambda maps: sys.exit(0), "SystemExit: 0"),
    "exit without code": (lambda maps: sys.exit(), "SystemExit"),
    "generator": (raising(GeneratorExit()), "GeneratorExit"),
    "cancelled": (raising(asyncio.CancelledError()), "CancelledError"),
    "interrupt": (raising(KeyboardInterrupt("mine")), "KeyboardInterrupt: mine"),
    "own": (raising(Ending("over")), "Ending: over"),
}


def found_in(call: Callable[[], Any]) -> BaseException:
    with pytest.raises(BaseException) as raised:  # noqa: PT011
        call()
    return raised.value


@pytest.mark.parametrize(("deed", "shown"), ENDING.values(), ids=ENDING)
@pytest.mark.parametrize(("time_limit", "thread"), [(None, False), (10, True)])
def test_an_exception_that_would_end_the_process_names_the_plugin(
    deed: Callable[[Any], Any], shown: str, time_limit: float | None, thread: bool
) -> None:
    engine = xai.Engine(made("cnn"), time_limit=time_limit)
    maps = engine.explain(three_images(), "grad-cam")
    explainer, metric = TheirCAM(deed), TheirScore(deed)
    of_metric = "their-score of their-cam 2.3 for maps of grad-cam"
    for who, plugin, call in (
        ("their-cam of their-cam 2.3", explainer, lambda: engine.explain(three_images(), explainer)),
        (of_metric, metric, lambda: engine.evaluate(three_images(), maps, metric)),
    ):
        with ThreadPoolExecutor(1) as pool:
            error = pool.submit(found_in, call).result() if thread else found_in(call)
        assert type(error) is PluginContractError
        assert str(error) == (
            f"{who} raised an exception that would end the process, {shown}; "
            "raise an exception of a standard class, such as ValueError"
        )
        assert responsible_call(error).plugin_object is plugin


@pytest.mark.parametrize(("deed", "kind"), [(recurse, RecursionError), (exhaust, MemoryError)])
def test_exhausted_resources_name_the_plugin(deed: Callable[[Any], Any], kind: type[Exception]) -> None:
    with pytest.raises(kind) as raised:
        xai.Engine(made("cnn")).explain(three_images(), TheirCAM(deed))
    assert message_with_notes(raised.value).endswith("(raised by explainer 'their-cam' of their-cam 2.3)")


@pytest.mark.parametrize("deed", [interrupt, lambda maps: signal.raise_signal(signal.SIGINT)])
@pytest.mark.parametrize("time_limit", [None, 10])
def test_ctrl_c_ends_the_call(deed: Callable[[Any], Any], time_limit: float | None) -> None:
    model, handler = made("cnn").train(), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        xai.Engine(model, time_limit=time_limit).explain(three_images(), TheirCAM(deed))
    assert signal.getsignal(signal.SIGINT) is handler
    assert all(module.training for module in model.modules())


def ignoring(outcome: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def give(given: Any) -> Any:
        try:
            interrupt(given)
        except BaseException:
            return outcome(given)

    return give


@pytest.mark.parametrize("outcome", [lambda maps: maps, raising(RuntimeError("not today")), raising(SystemExit(0))])
def test_a_plugin_cannot_ignore_ctrl_c(outcome: Callable[[Any], Any]) -> None:
    with pytest.raises(KeyboardInterrupt):
        xai.Engine(made("cnn")).explain(three_images(), TheirCAM(ignoring(outcome)))


def test_ctrl_c_reaches_a_handler_that_does_not_raise() -> None:
    received: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    try:
        maps = xai.Engine(made("cnn")).explain(
            three_images(), TheirCAM(lambda maps: (signal.raise_signal(signal.SIGINT), maps)[1])
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert received == [signal.SIGINT]
    assert list(maps) == ["their-cam"]


class Leaving(TheirCAM):
    name = "leaving"


def test_ctrl_c_ends_a_run_that_resumes(tmp_path: Path) -> None:
    data, calls = Speckles(8), list[int]()

    def interrupt_third(maps: Any) -> Any:
        calls.append(1)
        return interrupt(maps) if len(calls) == 3 else maps

    settings = {"methods": ["grad-cam", Leaving(interrupt_third)], "metrics": TWO, "shard": 4, "batch": 2}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", data, **settings)
    assert len(calls) == 3
    resumed = run(tmp_path / "run", data, **settings)
    assert same(resumed, run(tmp_path / "undisturbed", data, **settings))
    assert all(row["error"] is None for row in resumed.rows().to_pylist())


def test_an_outer_time_limit_passes() -> None:
    engine = xai.Engine(made("cnn"), time_limit=0.05)
    inner = xai.Engine(made("cnn"))
    with pytest.raises(TimeLimitError, match=r"their-cam of their-cam 2\.3 took longer"):
        engine.explain(
            three_images(), TheirCAM(lambda maps: inner.explain(three_images(), TheirCAM(lambda maps: time.sleep(9))))
        )
