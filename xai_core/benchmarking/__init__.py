"""Benchmarks: score methods on models and datasets, in runs that resume after an interruption."""
