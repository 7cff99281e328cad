"""Benchmarks that are ended from outside are resumed with an equal table."""

import os
from pathlib import Path

import pytest

from support.benchmark_runs import same
from support.workers_killed_at_random import disturb, finished, work

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for processes")]


def test_benchmarks_that_are_ended_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    """Killed, interrupted and terminated; `XAI_KILLS` says how often."""
    times = int(os.environ.get("XAI_KILLS", 3))
    undisturbed = work(tmp_path / "undisturbed", times, in_process=True)
    assert disturb(tmp_path / "disturbed", times) == times
    assert finished(tmp_path / "disturbed") >= times
    assert same(work(tmp_path / "disturbed", times, in_process=True), undisturbed)
