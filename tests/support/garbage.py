"""Hooks that avoid collections of garbage which would visit all that is imported, and end workers without one."""

import atexit
import gc
import itertools
import os
from collections.abc import Generator

import pytest

gc.disable()  # until all tests are collected: most of what is imported until then stays

ENDED = itertools.count()
MOST_IN_A_TEST = 200_000
"""Objects that tests leave to the oldest generation; all that is loaded is many more."""
worker: int | None = None
"""Process number of a worker of pytest-xdist."""


def pytest_configure(config: pytest.Config) -> None:
    """Note whether this process is a worker."""
    global worker
    if hasattr(config, "workerinput"):
        worker = os.getpid()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Do not look through all that is loaded in every collection of garbage, which takes a fifth of the time."""
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_runtest_teardown() -> None:
    """Freeze objects again that a test has thawed. Counting objects takes time, so few tests do it."""
    if next(ENDED) % 20 == 0 and len(gc.get_objects(generation=2)) > MOST_IN_A_TEST:
        gc.freeze()


def pytest_sessionfinish() -> None:
    """Let the process end as others do."""
    gc.unfreeze()


@atexit.register  # before PyTorch is imported, so that its functions run first
def end_worker() -> None:
    """End a worker without destroying all that is loaded, which takes seconds."""
    if worker == os.getpid():
        os._exit(0)
