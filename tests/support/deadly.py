"""Explainers, a metric, a model and a dataset that end their process, or that nothing in Python can interrupt."""

import collections
import ctypes
import itertools
import os
import signal
import threading
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from torch import Tensor

import xai_core as xai
from support.benchmark_runs import Brightness, Counted, Speckles
from xai_core.plugin import Evaluation


def leave() -> None:
    os._exit(7)


def crash() -> None:
    ctypes.string_at(0)


def run_out_of_memory(process: int = 0) -> None:
    """End as the kernel ends a process that takes all memory."""
    os.kill(process or os.getpid(), signal.SIGKILL)


def block() -> None:
    """Wait forever for a lock, without signals."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def hold() -> None:
    """Loop forever in compiled code, which looks at no signal."""
    collections.deque(itertools.repeat(0), 0)


class Deadly(xai.Explainer):
    """Does what it is told."""

    name = "deadly"
    act: Callable[[], Any] = staticmethod(leave)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        return xai.Needs(activations=(adapter.default_layer,))

    def explain(self, captured: xai.Captured) -> Tensor:
        self.act()
        return captured.activation().mean(1)


def deadly(act: Callable[[], Any]) -> xai.Explainer:
    """An explainer of the name of what it does."""

    def fill(namespace: dict[str, Any]) -> None:
        namespace |= {"name": act.__name__.replace("_", "-"), "act": staticmethod(act), "__module__": "__main__"}

    return types.new_class(act.__name__, (Deadly,), exec_body=fill)()  # type: ignore[no-any-return]


class Leaving(Brightness):
    """A metric that ends the process."""

    name = "leaving"

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        leave()
        return super().evaluate(evaluation, saliency)


class LeavingModel(Counted):
    """A model that ends every process except the one that made it, if it is called with many images."""

    def __init__(self, most: int = 0) -> None:
        super().__init__()
        self.process, self.most = os.getpid(), most

    def forward(self, x: Tensor) -> Tensor:
        if os.getpid() != self.process and len(x) > self.most:
            leave()
        return super().forward(x)


class Unloadable(Counted):
    """A model that ends every process except the one that made it, when it is moved to its device."""

    def __init__(self) -> None:
        super().__init__()
        self.process = os.getpid()

    def to(self, *args: Any, **options: Any) -> Self:
        if os.getpid() != self.process:
            leave()
        return super().to(*args, **options)


class Unpicklable(Brightness):
    """A metric that ends every process that receives it."""

    def __reduce__(self) -> Any:
        return leave, ()


@dataclass(frozen=True)
class DeadlyData(Speckles):
    """A dataset with images that do what they are told, except in the process that made it."""

    acts: Mapping[int, Callable[[], Any]] = field(default_factory=dict)
    process: int = field(default_factory=os.getpid)

    def __getitem__(self, index: int, /) -> xai.Sample:
        if index in self.acts and os.getpid() != self.process:
            self.acts[index]()
        return super().__getitem__(index)
