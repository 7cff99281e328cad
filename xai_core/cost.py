"""What maps cost: forward_passes, seconds and memory."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Cost:
    """What the maps of a batch cost.

    Attributes
    ----------
    forward_passes
        About how many forward_passes of the model the map of one image takes.
    seconds
        For the batch: the pass, which all methods of a call share, and what the method computed after it.
    memory
        The most bytes that PyTorch held on the device during these, with what it held before; None on the CPU, where it
        is not known.
    """

    forward_passes: int
    seconds: float
    memory: int | None


PASS = "<pass>"
"""The span of the pass that all methods share."""


class Meter:
    """Measures spans of work on a device without waiting for it, where it is switched on.

    On CUDA it resets the device's statistics of peak memory.
    """

    def __init__(self, device: torch.device, on: bool) -> None:
        self._device = device if device.type == "cuda" else None
        self._on = on
        self._seconds: dict[str, Any] = {}
        self._memory: dict[str, int] = {}

    @contextlib.contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Measure what runs inside, under a name."""
        if not self._on:
            yield
            return
        if self._device is None:
            start = time.perf_counter()
            yield
            self._seconds[name] = time.perf_counter() - start
            return
        torch.cuda.reset_peak_memory_stats(self._device)
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        yield
        end.record()
        self._seconds[name] = begin, end
        self._memory[name] = torch.cuda.max_memory_allocated(self._device)

    def cost(self, forward_passes: int, *names: str) -> Cost:
        """What the spans cost together, once the device has been waited for."""
        memory = max(self._memory[name] for name in names) if self._device is not None else None
        return Cost(forward_passes, sum(map(self._read, names)), memory)

    def _read(self, name: str) -> float:
        taken = self._seconds[name]
        return taken if self._device is None else taken[0].elapsed_time(taken[1]) / 1000
