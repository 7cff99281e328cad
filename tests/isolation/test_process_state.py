"""Settings of the process that a plugin changes are restored, and the error names the plugin."""

import os
import random
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.benchmark_runs import Speckles, by_key, run
from support.misbehaving import TheirCAM, TheirScore, fail
from support.misbehavior.process import CHANGES, Change
from support.models import SmallCNN, made, settled, three_images
from xai_core.errors import SideEffectError
from xai_core.isolation.error_context import PluginCall, message_with_notes, responsible_call
from xai_core.isolation.process_settings import OF_PROCESS, OF_THREAD
from xai_core.isolation.process_state import Snapshot, process_monitor

pytestmark = pytest.mark.usefixtures("their_plugin", "restored")
NAME = "XAI_CORE_TEST_VARIABLE"


@pytest.fixture
def restored() -> Iterator[None]:
    """Restore all settings after a test that fails."""
    before = Snapshot()
    yield
    before.undo({"the environment variables"})


def doing(deed: Callable[[], Any]) -> Callable[[Any], Any]:
    def give(given: Any) -> Any:
        deed()
        return given

    return give


@pytest.mark.parametrize("change", [change for change in CHANGES.values() if change.setting], ids=lambda c: c.setting)
def test_a_setting_that_a_metric_changes_is_restored(change: Change) -> None:
    engine = xai.Engine(made("cnn"))
    maps, before = engine.explain(three_images(), "grad-cam"), Snapshot()
    metric = TheirScore(lambda values: doing(change.act)(xai.MetricResult(values)))
    message = f"^their-score of their-cam 2.3.* changed the process: {change.setting}; "
    with pytest.raises(SideEffectError, match=message) as raised:
        engine.evaluate(three_images(), maps, metric)
    assert responsible_call(raised.value).plugin_object is metric
    assert before.changed() == []


def test_python_numbers_are_restored_without_an_error() -> None:
    before = random.getstate()
    xai.Engine(made("cnn")).explain(three_images(), TheirCAM(doing(random.random)))
    assert random.getstate() == before


def test_an_exception_after_a_change_mentions_it() -> None:
    engine = xai.Engine(made("cnn"))
    state = torch.get_rng_state()

    def draw_and_fail(maps: Tensor) -> Tensor:
        return fail(torch.rand_like(maps))

    with pytest.raises(RuntimeError, match="not today") as raised:
        engine.explain(three_images(), TheirCAM(draw_and_fail))
    assert "changed the process: the random state of PyTorch" in message_with_notes(raised.value)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_import_may_add_filters_and_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lines = ["import os, warnings", f"os.environ['{NAME}'] = '1'", "warnings.filterwarnings('ignore', 'of theirs')"]
    (tmp_path / "imported_lazily.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    explainer = TheirCAM(doing(lambda: __import__("imported_lazily")))
    with warnings.catch_warnings():
        filters = [*warnings.filters]
        xai.Engine(made("cnn")).explain(three_images(), explainer)
        assert warnings.filters[1:] == filters
    assert os.environ.pop(NAME) == "1"
    del sys.modules["imported_lazily"]
    (tmp_path / "imported_lazily.py").write_text("import warnings\nwarnings.resetwarnings()")
    with pytest.raises(SideEffectError, match="the warning filters"):
        xai.Engine(made("cnn")).explain(three_images(), explainer)
    del sys.modules["imported_lazily"]


def test_settings_that_a_plugin_restores_are_unchanged() -> None:
    def work() -> None:
        with warnings.catch_warnings(), torch.enable_grad(), torch.random.fork_rng(), torch.device("meta"):
            warnings.simplefilter("ignore")
            torch.manual_seed(0)

    assert list(xai.Engine(made("cnn")).explain(three_images(), TheirCAM(doing(work)))) == ["their-cam"]


class Seeding(nn.Module):
    """Seeds the generator in each forward pass, as a model with random masks does."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = settled(SmallCNN())

    def forward(self, x: Tensor) -> Tensor:
        torch.manual_seed(0)
        return self.cnn(x + 0.01 * torch.rand_like(x[:1]))


def test_a_model_may_draw() -> None:
    with torch.random.fork_rng():
        engine = xai.Engine(Seeding())
        maps = engine.explain(three_images(), ["grad-cam", "score-cam"])
        assert list(engine.evaluate(three_images(), maps, "deletion:steps=2")) == ["grad-cam", "score-cam"]
        engine.explain(three_images(), TheirCAM(doing(lambda: torch.rand(1))))  # cannot be distinguished
        with pytest.raises(SideEffectError, match="the random state of NumPy"):
            engine.explain(three_images(), TheirCAM(doing(np.random.rand)))


def in_order(*steps: tuple[int, Callable[[], Any]]) -> list[BaseException | None]:
    """Explain in two threads whose calls overlap. Each step runs in the explainer of one of the threads."""
    turn, condition = [0], threading.Condition()

    def explain(number: int) -> BaseException | None:
        def work() -> None:
            for position, (thread, step) in enumerate(steps):
                if thread == number:
                    with condition:
                        condition.wait_for(lambda position=position: turn[0] == position, 20)
                        step()
                        turn[0] += 1
                        condition.notify_all()

        class Numbered(TheirCAM):
            name = f"cam-{number}"

        try:
            xai.Engine(made("cnn")).explain(three_images(), Numbered(doing(work)))
        except BaseException as error:
            return error
        return None

    with ThreadPoolExecutor(2) as pool:
        return [*pool.map(explain, (0, 1))]


def nothing() -> None:
    pass


def test_overlapping_calls_are_both_named() -> None:
    deed = lambda: time.sleep(0.3)  # noqa: E731 # the other call has ended after it
    first, second = in_order((0, nothing), (1, nothing), (0, lambda: torch.set_default_dtype(torch.float64)), (1, deed))
    assert first is None
    assert isinstance(second, SideEffectError)
    assert str(second).startswith("one of the calls that ran at the same time in several threads, cam-")
    assert "cam-0" in str(second)
    assert "changed the process: the default dtype" in str(second)
    assert torch.get_default_dtype() == torch.float32


def test_settings_of_a_thread_name_its_call() -> None:
    deed = lambda: time.sleep(0.3)  # noqa: E731 # the other call has ended after it
    first, second = in_order((0, nothing), (1, nothing), (0, lambda: torch.set_grad_enabled(True)), (1, deed))
    assert "cam-0 changed the process: the grad mode; " in str(first)
    assert second is None


class DrawnSpeckles(Speckles):
    """Seeds and draws while methods run."""

    def __getitem__(self, index: int, /) -> xai.Sample:
        for _ in range(20):
            torch.manual_seed(index)
            torch.rand(1)
            time.sleep(0.01)
        return super().__getitem__(index)


def test_a_dataset_may_draw_while_methods_run(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        rows = by_key(run(tmp_path / "run", DrawnSpeckles(6), methods=["grad-cam", "rise:masks=50"], shard=2).rows())
    assert {row["error"] for row in rows.values()} == {None}


def test_a_guarded_call_costs_little() -> None:
    call = PluginCall("explainer", "their-cam", None)
    times = []
    for _ in range(50):
        begun = time.perf_counter()
        process_monitor.leave(call, process_monitor.enter())
        times.append(time.perf_counter() - begun)
    assert min(times) < 1e-3


def test_every_setting_has_a_test() -> None:
    tested = " ".join(change.setting for change in CHANGES.values())
    names = [setting.name for setting in (*OF_THREAD, *OF_PROCESS) if setting.reported]
    assert [name for name in names if name not in tested] == []


def test_settings_are_read_from_the_objects_that_are_current(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module, attribute, value in (
        ("the import path", sys, "path", ["elsewhere"]),
        ("the environment variables", os, "environ", {"NAME": "value"}),
    ):
        [setting] = [setting for setting in OF_PROCESS if setting.name == name]
        monkeypatch.setattr(module, attribute, value)
        assert setting.read() == value
        monkeypatch.undo()
