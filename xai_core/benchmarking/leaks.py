"""Detects memory leaks, and finds the method or metric that keeps tensors."""

import gc
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TypeVar

import torch

from xai_core.benchmarking.model_session import ModelSession
from xai_core.benchmarking.reader import Item
from xai_core.configurable import Configurable
from xai_core.isolation.error_context import PluginCall
from xai_core.isolation.tensor_memory import live_bytes
from xai_core.metric import Metric
from xai_core.plugins.registry import origin

SHARDS = 3
"""Number of successive shards in which the memory of live tensors must grow before a leak is suspected."""
MINIMUM = 4096
"""Minimum number of bytes kept per image that counts as a leak."""
T = TypeVar("T")


class MemoryGrowth:
    """Memory of live tensors after each shard, compared with a budget: 64 MiB, or an eighth of a GPU's memory."""

    def __init__(self, device: torch.device) -> None:
        self._budget = 64 * 2**20
        if device.type == "cuda":
            self._budget = torch.cuda.get_device_properties(device).total_memory // 8
        self._measured: list[int] = []

    def restart(self, factor: int = 1) -> None:
        """Forget the measurements, and multiply the budget by a factor."""
        self._measured, self._budget = [], self._budget * factor

    def exceeded(self) -> bool:
        """Measure after a shard. Return whether memory grew in each of the last shards, by more than the budget."""
        memory = live_bytes()
        if self._measured and memory - self._measured[0] > self._budget:
            gc.collect()
            memory = live_bytes()
        self._measured.append(memory)
        last = self._measured[-1 - SHARDS :]
        rising = len(last) > SHARDS and all(later > earlier for earlier, later in pairwise(last))
        return rising and memory - self._measured[0] > self._budget


@dataclass(frozen=True)
class Leak:
    """A method or metric that keeps tensors: `call` describes it, and `size` is in bytes per image."""

    call: PluginCall
    size: int

    @property
    def description(self) -> str:
        """Sentence that describes the leak."""
        return f"{self.call.description} keeps {self.size / 2**20:.1f} MiB of tensors for each image"


def find_leaks(
    session: ModelSession, items: Sequence[Item], methods: Sequence[str], metrics: Mapping[str, Metric]
) -> list[Leak]:
    """Explain and score three images with each method and metric alone, and return those that keep tensors.

    If there are fewer than three items, some are used several times.
    """
    images = [items[i % len(items)] for i in range(3)]
    explain = {name: [partial(session.explain, [item], [name]) for item in images] for name in methods}
    kept = _kept_bytes(explain, session.handle_failure)
    leaks = [Leak(_call("explainer", name, session.methods[name]), size) for name, size in kept.items()]
    maps = _first_results((calls for name, calls in explain.items() if name not in kept), session.handle_failure)
    if maps:
        pairs = [*zip(images, maps, strict=True)]
        score = {name: [partial(session.evaluate, [item], own, [name]) for item, own in pairs] for name in metrics}
        kept = _kept_bytes(score, session.handle_failure)
        leaks += [Leak(_call("metric", name, metrics[name]), size) for name, size in kept.items()]
    return leaks


def _call(kind: str, name: str, plugin: Configurable) -> PluginCall:
    return PluginCall(kind, name, plugin, origin(plugin))


def _kept_bytes(
    calls: Mapping[str, Sequence[Callable[[], object]]], handle_failure: Callable[[Exception], object]
) -> dict[str, int]:
    """Return the bytes of tensors that a call of each name keeps in memory, if at least `MINIMUM`.

    The first call of each name is not counted, because it may fill caches. A name is omitted if one of its calls raises
    an error.
    """
    kept = {}
    for name, of_name in calls.items():
        memory = []
        try:
            for call in of_name:
                call()
                gc.collect()
                memory.append(live_bytes())
        except Exception as error:
            handle_failure(error)
        else:
            kept[name] = min(later - earlier for earlier, later in pairwise(memory))
    return {name: size for name, size in kept.items() if size >= MINIMUM}


def _first_results(
    calls: Iterable[Sequence[Callable[[], T]]], handle_failure: Callable[[Exception], object]
) -> list[T]:
    """Return the results of the first calls that do not raise, or an empty list if all raise."""
    for of_name in calls:
        try:
            return [call() for call in of_name]
        except Exception as error:
            handle_failure(error)
    return []
