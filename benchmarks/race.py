"""A race: the contenders of a group, timed on the same model, images and threads."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

T = TypeVar("T")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Race:
    """One contender's turn."""

    benchmark: BenchmarkFixture
    group: str
    turn: int

    def __call__(self, who: str, run: Callable[[], T], rounds: int = 1, warm: int = 0) -> T:
        """Time `run` until the device is done, `rounds` times after `warm` that do not count; give its result."""
        self.benchmark.group = self.group
        self.benchmark.extra_info.update(who=who, turn=self.turn)
        return self.benchmark.pedantic(finish, (run,), rounds=rounds, warmup_rounds=warm)


def finish(run: Callable[[], T]) -> T:
    """Run, and wait for the device."""
    result = run()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return result


def unit(maps: Tensor) -> Tensor:
    """Min-max normalize each map [B,H,W], so that maps on different scales compare."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low)
