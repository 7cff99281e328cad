"""Finds out which plugin keeps tensors, where live tensors hold more and more from shard to shard."""

import gc
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

import torch

from xai_core.isolation.tensor_memory import live_bytes

SHARDS = 3
"""Over how many shards live tensors must grow, each time, before anything is suspected."""
LEAST = 4096
"""Bytes kept for each image that are taken for a leak."""
T = TypeVar("T")


class Growth:
    """How many bytes live tensors hold after each shard of a model, against a budget."""

    def __init__(self, device: torch.device) -> None:
        self._budget = 64 * 2**20
        if device.type == "cuda":
            self._budget = torch.cuda.get_device_properties(device).total_memory // 8
        self._held: list[int] = []

    def start(self, patience: int = 1) -> None:
        """Begin anew, with so many times the budget."""
        self._held, self._budget = [], self._budget * patience

    def exceeded(self) -> bool:
        """Count, after a shard: whether it grew with each of the last shards, and by more than the budget in all."""
        held = live_bytes()
        if self._held and held - self._held[0] > self._budget:
            gc.collect()
            held = live_bytes()
        self._held.append(held)
        last = self._held[-1 - SHARDS :]
        rising = len(last) > SHARDS and all(later > earlier for earlier, later in pairwise(last))
        return rising and held - self._held[0] > self._budget


def leaking(
    calls: Mapping[str, Sequence[Callable[[], object]]], failed: Callable[[Exception], object]
) -> dict[str, int]:
    """Of some names' calls, each for another image, how many bytes each keeps for good; without those that keep none.

    The first call is left out, which may fill caches, and what raises keeps nothing that is known; `failed` is told.
    """
    kept = {}
    for name, alike in calls.items():
        held = []
        try:
            for call in alike:
                call()
                gc.collect()
                held.append(live_bytes())
        except Exception as error:
            failed(error)
        else:
            kept[name] = min(later - earlier for earlier, later in pairwise(held))
    return {name: size for name, size in kept.items() if size >= LEAST}


def first_given(calls: Iterable[Sequence[Callable[[], T]]], failed: Callable[[Exception], object]) -> list[T]:
    """What the first calls give of which none raises, or nothing; `failed` is told of those before."""
    for alike in calls:
        try:
            return [call() for call in alike]
        except Exception as error:
            failed(error)
    return []
