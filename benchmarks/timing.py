"""Timing of one library in one turn. All libraries of a group use the same model, images and threads."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

T = TypeVar("T")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Timing:
    """Times one library in one turn.

    Attributes
    ----------
    benchmark
        Fixture of pytest-benchmark that records the times.
    group
        Heading of the table that contains the times.
    turn
        Index of the turn.
    """

    benchmark: BenchmarkFixture
    group: str
    turn: int

    def __call__(self, who: str, run: Callable[[], T], rounds: int = 1, warm: int = 0) -> T:
        """Time `run` with device synchronization, and return its result.

        Parameters
        ----------
        who
            Name of the library in the table.
        run
            Function to time.
        rounds
            Number of timed calls.
        warm
            Number of calls before them, which are not timed.
        """
        self.benchmark.group = self.group
        self.benchmark.extra_info.update(who=who, turn=self.turn)
        return self.benchmark.pedantic(finish, (run,), rounds=rounds, warmup_rounds=warm)


def finish(run: Callable[[], T]) -> T:
    """Call a function and wait until the device has finished."""
    result = run()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return result


def unit(maps: Tensor) -> Tensor:
    """Min-max normalize each map [B,H,W], so that maps with different ranges can be compared."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low)
