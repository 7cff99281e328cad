"""What a plugin leaves on a model is put back, and said with the plugin's name; threads are not taken for plugins."""

import contextlib
import signal
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.explaining import assert_same
from support.models import SmallCNN, made, three_images
from support.observing import everything
from support.plugin_environment import Plug
from xai_core.errors import PluginContractError, SideEffectError
from xai_core.isolation.error_context import PluginCall, weights_changed
from xai_core.isolation.model_state import ModelStateMonitor
from xai_core.model.execution import scoring
from xai_core.plugin import Evaluation

Deed = Callable[[nn.Module], Any]


class Doing(xai.Explainer):
    """Does something to the model, and may raise."""

    name = "doing"

    def __init__(
        self, deed: Deed = lambda model: None, when: str = "explain", error: BaseException | None = None
    ) -> None:
        self.deed, self.when, self.error = deed, when, error

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        if self.when == "needs":
            self.deed(adapter.model)
        return xai.Needs(activations=(adapter.default_layer,))

    def explain(self, captured: xai.Captured) -> Tensor:
        if self.when == "explain":
            self.deed(captured.adapter.model)
        if self.error is not None:
            raise self.error
        return captured.activation().mean(1)


class Scoring(xai.Metric):
    """Does something to the model."""

    name = "scoring"
    higher_is_better = True

    def __init__(self, deed: Deed) -> None:
        self.deed = deed

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        self.deed(evaluation.model)
        return xai.MetricResult(saliency.values.mean((1, 2)))


def backward(model: nn.Module) -> None:
    with torch.enable_grad():
        model.eval()(three_images()).sum().backward()


def add_module(model: nn.Module) -> None:
    model.extra = nn.Linear(1, 1)


def replace_parameter(model: nn.Module) -> None:
    model.head.bias = nn.Parameter(torch.zeros_like(model.head.bias))


def freeze(model: nn.Module) -> None:
    model.requires_grad_(False)


def add_parameter(model: nn.Module) -> None:
    model.stem.register_parameter("mine", nn.Parameter(torch.zeros(1)))


def replace_buffer(model: nn.Module) -> None:
    model.stem[1].register_buffer("running_mean", torch.ones(8))


def patch_forward(model: nn.Module) -> None:
    model.stem.forward = lambda x: x


def clear_hooks(model: nn.Module) -> None:
    model.body._forward_hooks = OrderedDict()


def break_hooks(model: nn.Module) -> None:
    model.stem._forward_hooks = None


def patch_class(model: nn.Module) -> None:
    nn.Dropout.forward = lambda self, x: x * 0


def change_class(model: nn.Module) -> None:
    model.pool.__class__ = nn.Identity


LEFT: dict[str, tuple[Deed, str]] = {
    "forward hook": (lambda m: m.last.register_forward_hook(lambda *_: None), "a forward hook on last;"),
    "pre hook": (lambda m: m.register_forward_pre_hook(lambda *_: None), "a forward hook on the model itself;"),
    "backward hook": (lambda m: m.stem.register_full_backward_hook(lambda *_: None), "a backward hook on stem;"),
    "requires_grad": (
        lambda m: m.requires_grad_(False),
        "requires_grad of stem.0.weight, stem.0.bias, stem.1.weight and 14",
    ),
    "gradients": (backward, ".grad of stem.0.weight"),
    "mode": (lambda m: m.stem.train(), "the mode of stem, stem.0, stem.1 and 1 more;"),
    "new module": (add_module, "the submodules of the model itself;"),
    "new parameter": (
        lambda m: m.stem.register_parameter("mine", nn.Parameter(torch.zeros(1))),
        "the new tensor stem.mine;",
    ),
    "another parameter": (replace_parameter, "another tensor as head.bias;"),
    "no hooks": (clear_hooks, "a forward hook on body;"),
    "broken hooks": (break_hooks, "the internal dictionary _forward_hooks;"),
    "forward of a class": (patch_class, "the forward of the class of last.3;"),
    "class": (change_class, "the class of pool;"),
    "forward": (patch_forward, "the forward of stem;"),
    "buffer": (
        lambda m: m.stem[1].register_buffer("running_mean", torch.ones(8)),
        "another tensor as stem.1.running_mean;",
    ),
}


@pytest.mark.parametrize(
    ("deed", "by"), [*((deed, "explain") for deed in LEFT), ("forward hook", "needs"), ("forward hook", "metric")]
)
def test_what_is_left_is_put_back_and_named(deed: str, by: str) -> None:
    do, said = LEFT[deed]
    model, images = made("cnn"), three_images()
    next(model.body.parameters()).requires_grad_(False)
    kept = model.body.register_forward_hook(lambda *_: None)
    before = everything(model)
    engine = xai.Engine(model)

    def call() -> None:
        if by == "metric":
            engine.evaluate(images, engine.explain(images, "grad-cam"), ["deletion:steps=2", Scoring(do)])
        else:
            engine.explain(images, ["grad-cam", Doing(do, by)])

    with pytest.raises(SideEffectError) as raised:
        call()
    name = "scoring for maps of grad-cam" if by == "metric" else "doing"
    assert str(raised.value).startswith(f"{name} changed the model: {said}")
    assert "the change was undone" in str(raised.value)
    assert not weights_changed(raised.value)
    assert everything(model) == before
    assert list(engine.explain(images, "grad-cam")) == ["grad-cam"]
    kept.remove()


def change(model: nn.Module) -> None:
    with torch.no_grad():
        model.head.weight.mul_(2)


def through_data(model: nn.Module) -> None:
    model.half().float()


@pytest.mark.parametrize("deed", [change, through_data, lambda model: model.train()(three_images())])
def test_changed_weights_are_said_to_last(deed: Deed) -> None:
    engine = xai.Engine(made("cnn"))
    with pytest.raises(SideEffectError, match=r"other values of .*load the model again") as raised:
        engine.explain(three_images(), Doing(deed))
    assert weights_changed(raised.value)
    assert engine.model.training is False


def test_the_distribution_and_version_are_named() -> None:
    engine = xai.Engine(made("cnn"), plugins=["xai-cam", plug := Plug("own-cam")])
    plug.given[0].needs = lambda self, adapter: (freeze(adapter.model), xai.Needs(activations=("last",)))[1]
    with pytest.raises(SideEffectError, match=r"^own-cam of Plug changed the model: requires_grad of"):
        engine.explain(three_images(), ["grad-cam", "own-cam"])


@pytest.mark.parametrize(
    ("error", "kind"), [(RuntimeError("no"), RuntimeError), (KeyboardInterrupt(), PluginContractError)]
)
def test_an_error_has_a_note_of_what_was_left(error: BaseException, kind: type[Exception]) -> None:
    model = made("cnn")
    before = everything(model)
    with pytest.raises(kind) as raised:
        xai.Engine(model).explain(three_images(), Doing(LEFT["forward hook"][0], error=error))
    assert "doing changed the model: a forward hook on last" in raised.value.__notes__[-1]
    assert everything(model) == before


def test_ctrl_c_leaves_the_model_unchanged() -> None:
    model = made("cnn")
    before = everything(model)

    def hook_and_interrupt(model: nn.Module) -> None:
        LEFT["forward hook"][0](model)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        xai.Engine(model).explain(three_images(), Doing(hook_and_interrupt))
    assert everything(model) == before


class Counting(SmallCNN):
    """Writes to a buffer in each forward, and to one that is not saved, of another shape for another batch."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("cached", None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        self.cached = torch.zeros(len(x))
        return super().forward(x)


def test_what_the_model_itself_writes_is_not_the_plugins() -> None:
    engine, images = xai.Engine(Counting().eval()), three_images()
    maps = engine.explain(images, ["grad-cam", "score-cam"])
    engine.evaluate(images, maps, "deletion:steps=4")
    with pytest.raises(SideEffectError, match=r"changed the model: other values of head\.weight;"):
        engine.explain(images, Doing(change))


def test_what_the_user_changes_between_calls_is_not_the_plugins() -> None:
    model, images = made("cnn"), three_images()
    engine = xai.Engine(model)
    engine.explain(images, "grad-cam")
    model.requires_grad_(False).train()
    change(model)
    handle = model.register_forward_hook(lambda *_: None)
    replace_parameter(model)
    engine.explain(images, "grad-cam")
    assert model.training
    assert len(model._forward_hooks) == 1
    handle.remove()


def test_a_mode_that_the_user_changes_before_a_pass_of_another_thread_is_not_the_plugins() -> None:
    model = made("cnn").eval()
    monitor, call = ModelStateMonitor.of(model), PluginCall("explainer", "grad-cam", None)
    monitor.remember()
    model.train()
    with scoring(model):  # in evaluation mode, as the remembered model was
        monitor.remember()
    monitor.enter()
    assert monitor.leave(call) is None
    assert model.training


@contextlib.contextmanager
def hooked(model: nn.Module) -> Any:
    handle = model.last.register_forward_hook(lambda *_: None)
    yield
    handle.remove()


def busy(model: nn.Module) -> None:
    """Places a hook for a while, as wrapped libraries do."""
    with hooked(model):
        time.sleep(0.002)


@pytest.mark.parametrize("training", [False, True])
def test_threads_on_one_model_are_not_taken_for_plugins(training: bool) -> None:
    model, images = made("cnn").train(training), three_images()
    methods = ["grad-cam", "score-cam", Doing(busy)]
    expected = xai.Engine(model).explain(images, methods)
    before = everything(model)
    start = threading.Barrier(3)

    def work(i: int) -> list[dict[str, xai.Saliency]]:
        engine = xai.Engine(model)
        start.wait()
        return [engine.explain(images, methods[i:] + methods[:i]) for _ in range(15)]

    with ThreadPoolExecutor(3) as pool:
        for answers in pool.map(work, range(3)):
            for maps in answers:
                assert_same({name: maps[name] for name in expected}, expected)
    assert everything(model) == before


def test_of_threads_at_once_all_are_named_where_it_is_not_known_which() -> None:
    model, images = made("cnn"), three_images()
    both, done = threading.Barrier(2, timeout=20), threading.Event()

    def first(model: nn.Module) -> None:
        both.wait()
        model.last.register_forward_hook(lambda *_: None)
        done.wait(20)

    class Second(Doing):
        name = "second"

    def second(model: nn.Module) -> None:
        both.wait()
        time.sleep(0.1)

    def work(explainer: xai.Explainer) -> str:
        try:
            xai.Engine(model).explain(images, explainer)
        except SideEffectError as error:
            return str(error)
        finally:
            done.set()
        return ""

    with ThreadPoolExecutor(2) as pool:
        said = "".join(pool.map(work, [Doing(first), Second(second)]))
    assert "several threads, second or doing, changed" in said or "several threads, doing or second, changed" in said
    assert "the model: a forward hook on last;" in said
    assert not model.last._forward_hooks
