"""Work in three stages that overlap: reading ahead, computing in the calling thread, and writing behind."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Content = TypeVar("Content")
Result = TypeVar("Result")
Written = TypeVar("Written")

WINDOW = 4
"""Largest number of items that are read ahead, and that wait to be written."""
THREADS = 3


def overlapped(
    items: Iterable[Item],
    read: Callable[[Item], Content],
    compute: Callable[[Content], Result],
    write: Callable[[Result], Written],
) -> Iterator[Written]:
    """Yield `write(compute(read(item)))` for each item, in order. Only `compute` runs in the calling thread.

    If `compute` raises or is interrupted, earlier results are still written.
    """
    remaining = iter(items)
    with ThreadPoolExecutor(THREADS) as pool:
        reads = deque(pool.submit(read, item) for item in islice(remaining, WINDOW))
        writes: deque[Future[Written]] = deque()
        try:
            while reads:
                content = reads.popleft().result()
                reads.extend(pool.submit(read, item) for item in islice(remaining, 1))
                writes.append(pool.submit(write, compute(content)))
                if len(writes) > WINDOW:
                    yield writes.popleft().result()
            while writes:
                yield writes.popleft().result()
        finally:
            for future in reads:
                future.cancel()
            pool.shutdown()
