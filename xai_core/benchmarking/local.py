"""Works through shards in this process."""

from collections.abc import Generator, Sequence
from itertools import pairwise

from xai_core.benchmarking.resolve import ResolvedBenchmark
from xai_core.benchmarking.store import Part, Shard
from xai_core.benchmarking.worker import Worker


def work_through(given: ResolvedBenchmark, shards: Sequence[Shard]) -> Generator[Part, None, None]:
    """Give the parts in order."""
    worker = Worker(given)
    try:
        for shard, following in pairwise([*shards, None]):
            assert shard is not None
            yield worker.run(shard, following)
    finally:
        worker.close()
