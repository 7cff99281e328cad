"""What goes wrong in a plugin is said with its name, distribution and version; what takes too long is interrupted."""

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

import xai_core as xai
from support.misbehaving import TheirCAM, TheirScore, fail, loop, stubborn
from support.models import made, three_images
from xai_core.errors import (
    LayerError,
    NonFiniteMapError,
    NonFiniteResultError,
    PluginContractError,
    TimeLimitError,
)
from xai_core.isolation import timeouts as limits
from xai_core.isolation.error_context import message_with_notes, responsible_call
from xai_core.isolation.timeouts import UninterruptedLock, limited
from xai_core.model.execution import lock

pytestmark = pytest.mark.usefixtures("their_plugin")


def explain(*methods: xai.Explainer | str) -> BaseException:
    with pytest.raises(Exception) as raised:  # noqa: PT011
        xai.Engine(made("cnn")).explain(three_images(), ["grad-cam", *methods])
    return raised.value


def evaluate(metric: xai.Metric) -> BaseException:
    engine = xai.Engine(made("cnn"))
    maps = engine.explain(three_images(), "grad-cam")
    with pytest.raises(Exception) as raised:  # noqa: PT011
        engine.evaluate(three_images(), maps, ["deletion:steps=2", metric])
    return raised.value


@pytest.mark.parametrize(
    ("explainer", "kind", "message"),
    [
        (
            TheirCAM(lambda maps: maps * torch.nan),
            NonFiniteMapError,
            "their-cam of their-cam 2.3 returned NaN",
        ),
        (TheirCAM(lambda maps: maps[:1]), PluginContractError, "their-cam of their-cam 2.3 must return floating-point"),
        (
            TheirCAM(lambda maps: None),
            PluginContractError,
            "their-cam of their-cam 2.3 must return .*returned NoneType",
        ),
        (
            TheirCAM(ask=[1]),
            PluginContractError,
            "the `needs` of their-cam of their-cam 2.3 must return xai_core.Needs; .* list",
        ),
    ],
)
def test_what_a_method_gives_wrongly_is_said_with_its_distribution(
    explainer: TheirCAM, kind: type, message: str
) -> None:
    error = explain(explainer)
    assert type(error) is kind
    assert error.args[0].startswith(message.partition(".*")[0])
    assert message.rpartition(".*")[2] in str(error)
    assert not hasattr(error, "__notes__")
    assert responsible_call(error).plugin_object is explainer


@pytest.mark.parametrize(
    "explainer",
    [TheirCAM(fail), TheirCAM(ask=RuntimeError("not today")), TheirCAM(ask=xai.Needs(activations=("layer9",)))],
)
def test_what_a_method_raises_passes_with_one_note(explainer: TheirCAM) -> None:
    error = explain(explainer)
    assert type(error) is (LayerError if isinstance(explainer._ask, xai.Needs) else RuntimeError)
    assert error.__notes__ == ["raised by explainer 'their-cam' of their-cam 2.3"]
    assert message_with_notes(error).endswith(" (raised by explainer 'their-cam' of their-cam 2.3)")
    assert responsible_call(error).plugin_object is explainer


def test_a_method_made_of_others_names_where_all_come_from() -> None:
    error = explain(xai.create_explainer("smoothed", explainer=TheirCAM(fail)))
    [note] = error.__notes__
    assert note.startswith("raised by explainer 'smoothed' of xai-cam 0.1.0 and their-cam 2.3")


def test_ones_own_class_is_named_alone() -> None:
    class Mine(TheirCAM):
        name = "mine"

    assert explain(Mine(fail)).__notes__ == ["raised by explainer 'mine'"]
    assert str(explain(Mine(lambda maps: maps * torch.inf))).startswith("mine returned NaN or infinity")


@pytest.mark.parametrize(
    ("metric", "kind", "message"),
    [
        (
            TheirScore(lambda v: xai.MetricResult(v * torch.nan)),
            NonFiniteResultError,
            " is NaN or infinite for images",
        ),
        (
            TheirScore(lambda v: xai.MetricResult(v[:1])),
            PluginContractError,
            " must return one number per image, [3]; it",
        ),
        (
            TheirScore(lambda v: v),
            PluginContractError,
            " must return a MetricResult of one number per image",
        ),
    ],
)
def test_what_a_metric_gives_wrongly_is_said_with_its_distribution(
    metric: TheirScore, kind: type, message: str
) -> None:
    error = evaluate(metric)
    assert type(error) is kind
    assert str(error).startswith(f"their-score of their-cam 2.3 for maps of grad-cam{message}")
    assert (responsible_call(error).plugin_object, responsible_call(error).maps) == (metric, "grad-cam")


def test_what_a_metric_raises_passes_with_one_note() -> None:
    assert evaluate(TheirScore(fail)).__notes__ == [
        "raised by metric 'their-score' of their-cam 2.3 for maps of grad-cam"
    ]


def test_a_method_that_fails_for_a_metric_is_the_one_named() -> None:
    """Metrics explain again; what the method raises then is the method's."""
    calls: list[int] = []

    def once(maps: Tensor) -> Tensor:
        calls.append(1)
        return maps if len(calls) == 1 else fail(maps)

    engine = xai.Engine(made("cnn"))
    maps = engine.explain(three_images(), TheirCAM(once))
    with pytest.raises(RuntimeError, match="not today") as raised:
        engine.evaluate(three_images(), maps, "max-sensitivity:samples=1")
    assert raised.value.__notes__ == ["raised by explainer 'their-cam' of their-cam 2.3"]


def deaf(given: Any = None) -> Any:
    """Goes on once whatever is raised."""
    try:
        loop()
    except:  # noqa: E722
        loop()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REPEAT", 0.05)


def timed(function: Callable[[], Any], seconds: float = 0.05) -> float:
    begun = time.monotonic()
    with pytest.raises(TimeoutError), limited(seconds, TimeoutError):
        function()
    return time.monotonic() - begun


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("function", [loop, stubborn, deaf, lambda: time.sleep(60)])
def test_what_takes_too_long_is_interrupted(function: Callable[[], Any]) -> None:
    assert timed(function) < 5


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("function", [loop, stubborn, deaf])
def test_what_takes_too_long_in_another_thread_is_interrupted(function: Callable[[], Any]) -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(timed, function).result() < 5
        assert pool.submit(sum, range(10**6)).result() > 0  # and nothing that comes after


@pytest.mark.parametrize("thread", [False, True])
def test_what_is_done_in_time_is_left_alone(thread: bool) -> None:
    def work() -> int:
        for _ in range(200):
            with limited(0.0005, TimeoutError):
                pass
            with limited(None, TimeoutError):
                pass
        time.sleep(0.01)
        return 3

    if thread:
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(work).result() == 3
    else:
        assert work() == 3


def test_its_own_errors_pass() -> None:
    with pytest.raises(KeyError), limited(5, TimeoutError):
        raise KeyError


@pytest.fixture
def alarm() -> Iterator[list[int]]:
    """A timer of the user's own, due in half a second, and what it counted."""
    rang: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda *_: rang.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    yield rang
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_the_timer_of_the_process_is_given_back(alarm: list[int]) -> None:
    handler = signal.getsignal(signal.SIGALRM)
    timed(loop)
    assert signal.getsignal(signal.SIGALRM) is handler
    left, interval = signal.getitimer(signal.ITIMER_REAL)
    assert 0 < left < 0.46
    assert interval == 0
    time.sleep(0.6)
    assert alarm == [1]


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("thread", [False, True])
def test_who_holds_the_lock_of_a_model_is_not_interrupted(thread: bool) -> None:
    """So that hooks and modes are never left halfway."""
    whole = []

    def work() -> None:
        with lock:
            begun = time.monotonic()
            while time.monotonic() - begun < 0.2:
                pass
            whole.append(1)
        loop()

    with ThreadPoolExecutor(1) as pool:
        took = pool.submit(timed, work).result() if thread else timed(work)
    assert 0.2 <= took < 5
    assert whole == [1]
    assert not UninterruptedLock.holders


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("thread", [False, True])
def test_a_method_that_loops_is_an_error_that_names_it(thread: bool) -> None:
    model = made("cnn").train()
    engine = xai.Engine(model, time_limit=0.05)

    def score_forever(captured: xai.Captured) -> Tensor:
        while True:
            captured.model_score(captured.images)

    looping = TheirCAM()
    looping.explain = score_forever
    message = r"their-cam of their-cam 2\.3 took longer than 0\.15 s and was interrupted"

    def work() -> None:
        with pytest.raises(TimeLimitError, match=message) as raised:
            engine.explain(three_images(), ["grad-cam", looping])
        assert responsible_call(raised.value).plugin_object is looping
        assert not hasattr(raised.value, "__notes__")

    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result() if thread else work()
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert list(engine.explain(three_images(), "grad-cam")) == ["grad-cam"]
    maps = engine.explain(three_images(), "grad-cam")
    with pytest.raises(TimeLimitError, match=r"their-score .* for maps of grad-cam took longer than 0\.15 s"):
        engine.evaluate(three_images(), maps, TheirScore(loop))
