"""Benchmarks: explainers ranked on models and data, in runs that resume."""

from xai_core.benchmark.run import benchmark
from xai_core.benchmark.settings import Settings, read_settings
from xai_core.benchmark.store import Run

__all__ = ["Run", "Settings", "benchmark", "read_settings"]
