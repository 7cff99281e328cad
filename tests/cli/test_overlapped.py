"""Reading, computing and writing overlap, in the order of the items."""

import threading
from collections.abc import Iterator

import pytest

from xai_core.cli.actions.overlapped import WINDOW, overlapped


def test_results_are_in_order_and_the_stages_overlap() -> None:
    second_is_read, first_is_written = threading.Event(), threading.Event()
    threads = set()

    def read(item: int) -> int:
        if item == 1:
            second_is_read.set()
        return item

    def compute(item: int) -> int:
        threads.add(threading.current_thread())
        assert item != 0 or second_is_read.wait(30), "the next item is read while the first is computed"
        assert item != 2 or first_is_written.wait(30), "the first item is written while the third is computed"
        return 2 * item

    def write(result: int) -> str:
        first_is_written.set()
        return f"{result}"

    assert [*overlapped(range(10), read, compute, write)] == [f"{2 * item}" for item in range(10)]
    assert threads == {threading.current_thread()}


def test_few_items_are_read_ahead() -> None:
    requested = []

    def items() -> Iterator[int]:
        for item in range(100):
            requested.append(item)
            yield item

    next(iter(overlapped(items(), int, int, int)))
    assert len(requested) <= 2 * WINDOW + 2


def test_earlier_results_are_written_after_an_error() -> None:
    written: list[int] = []

    def compute(item: int) -> int:
        if item == 3:
            raise KeyboardInterrupt
        return item

    with pytest.raises(KeyboardInterrupt):
        [*overlapped(range(9), int, compute, written.append)]
    assert sorted(written) == [0, 1, 2]
