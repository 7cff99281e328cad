"""Benchmarks: explainers ranked on models and data, in runs that resume."""

from xai_core.benchmarking.run import benchmark
from xai_core.benchmarking.settings import Settings, read_settings
from xai_core.benchmarking.store import Run

__all__ = ["Run", "Settings", "benchmark", "read_settings"]
