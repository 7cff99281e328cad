"""Hooks and fixtures of all tests, of the core and of the plugins: a seed, and small random models of each family."""

import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import support.typechecker  # noqa: F401  jaxtyping, which checks calls in xai_core, finds it as an attribute
from support.conformance import is_slow
from support.models import FAMILIES, made, three_images
from support.seeding import seed

# Dozens of tests start a process that imports PyTorch, which takes twice as long without its bytecode.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Small models and matrices gain nothing from more threads, and lose much where cores are shared; here, and in the
# processes that this one starts, of which those that run tests have yet to load NumPy.
torch.set_num_threads(1)
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

# A shell without job control lets processes in the background ignore Ctrl-C, which some tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)

SLOW = {*Path(__file__).with_name("slow_tests.txt").read_text().split()}
"""Test functions that a quick run leaves out, which `list_slow_tests.py` wrote."""
EXTENDED = {*Path(__file__).with_name("extended_tests.txt").read_text().split()}
"""Test functions that run with `-m extended` alone, and in CI: documented commands, Ray clusters, random kills."""


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files with slow tests first, so that no worker waits for another's at the end, and the longest of these.

    The tests of a file stay together, because they share fixtures.
    """
    for item in items:
        check = item.callspec.params.get("check") if hasattr(item, "callspec") else None
        name = item.nodeid.partition("[")[0]
        if is_slow(check) or name in SLOW | EXTENDED:
            item.add_marker("slow")
        if name in EXTENDED:
            item.add_marker("extended")
    slow, extended = ({item.path for item in items if item.get_closest_marker(mark)} for mark in ("slow", "extended"))
    items.sort(key=lambda item: (item.path not in extended, item.path not in slow))


@pytest.fixture(autouse=True)
def seeded() -> None:
    seed()


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def model(family: str) -> nn.Module:
    """A small random model of each family, in evaluation mode."""
    return made(family)


@pytest.fixture
def images() -> Tensor:
    return three_images()
