"""The cost of maps: forward passes, seconds and memory."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Cost:
    """The cost of explaining a batch.

    Attributes
    ----------
    forward_passes
        The approximate number of forward passes of the model for the map of one image.
    seconds
        The duration for the whole batch: the pass that all methods of a call share, plus the method's own computation.
    memory
        The largest number of bytes that PyTorch allocated on the device during this time, including those allocated
        before. None on the CPU, where it is not measured.
    """

    forward_passes: int
    seconds: float
    memory: int | None


torch.serialization.add_safe_globals([Cost])  # `torch.load` reads only listed classes by default

PASS = "<pass>"
"""The name of the span of the shared pass."""


class Meter:
    """Measures spans of work on a device without synchronizing with it.

    Parameters
    ----------
    device
        The device. On CUDA, the meter resets the device's statistics of peak memory.
    on
        Whether to measure at all.
    """

    def __init__(self, device: torch.device, on: bool) -> None:
        self._device = device if device.type == "cuda" else None
        self._on = on
        self._seconds: dict[str, Any] = {}
        self._memory: dict[str, int] = {}

    @contextlib.contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Measure the work inside the context, under a name."""
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
        """Return the total cost of some spans. The device must have finished their work."""
        memory = max(self._memory[name] for name in names) if self._device is not None else None
        return Cost(forward_passes, sum(map(self._read, names)), memory)

    def _read(self, name: str) -> float:
        measured = self._seconds[name]
        return measured if self._device is None else measured[0].elapsed_time(measured[1]) / 1000
