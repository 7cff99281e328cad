"""Works through shards in this process."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from xai_core.benchmark.preparation import Given
from xai_core.benchmark.store import Part, Shard
from xai_core.benchmark.worker import Worker


def work_through(given: Given, shards: Sequence[Shard]) -> Iterator[Part]:
    """Give the parts in order."""
    worker = Worker(given)
    try:
        for shard, following in pairwise([*shards, None]):
            assert shard is not None
            yield worker.run(shard, following)
    finally:
        worker.close()
