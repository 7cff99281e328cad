"""Images are read by threads ahead of the shard in progress."""

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xai_core as xai
from support.benchmark_runs import Brightness, Speckles, run
from xai_core.benchmarking.shards import ShardFiles
from xai_core.benchmarking.summary import summarize


@dataclass(frozen=True)
class Noted(Speckles):
    """Notes which images are read."""

    read: Any = None

    def __getitem__(self, index: int, /) -> xai.Sample:
        self.read.append(index)
        return super().__getitem__(index)


def test_images_of_the_next_shard_are_read_while_this_one_is_explained(tmp_path: Path) -> None:
    """Seen where the first shard is finished and the second not begun; the first image was read to prepare the run."""
    read: list[int] = []
    seen: list[set[int]] = []

    def look(going: xai.Run, part: ShardFiles | None) -> None:
        end = time.monotonic() + 10
        while part is not None and len(seen) == 1 and 3 not in read and time.monotonic() < end:
            time.sleep(0.01)  # a thread reads it
        seen.append({*read})

    run(tmp_path / "run", Noted(6, read=read), metrics=Brightness(), shard=2, progress=look)
    assert seen == [{0}, {0, 1, 2, 3}, {*range(6)}, {*range(6)}]
    assert sorted(read) == [0, *range(6)]


@dataclass(frozen=True)
class Alone(Speckles):
    """Bears one reader at a time."""

    busy: Any = None

    def __getitem__(self, index: int, /) -> xai.Sample:
        assert self.busy.acquire(blocking=False), "two threads at once"
        time.sleep(0.005)
        try:
            return super().__getitem__(index)
        finally:
            self.busy.release()


def test_data_given_as_an_object_is_read_by_one_thread_at_a_time(tmp_path: Path) -> None:
    data = Alone(busy=threading.Lock())
    assert not summarize(run(tmp_path / "run", data, methods="grad-cam", metrics=Brightness(), workers=4)).errors
