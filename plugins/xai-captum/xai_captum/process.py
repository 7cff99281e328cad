"""What captum does to the whole process, undone: its warnings, and draws from generators that all code shares."""

import contextlib
import threading
import warnings
from collections.abc import Iterator

import numpy as np
import torch

from xai_core.modes import ForTheProcess

WARNINGS = ("Setting backward hooks on ReLU", "Setting forward, backward hooks and attributes on non-linear")


@contextlib.contextmanager
def _filtered() -> Iterator[None]:
    with warnings.catch_warnings():
        for message in WARNINGS:
            warnings.filterwarnings("ignore", rf"\s*{message}")
        yield


quietly = ForTheProcess(_filtered)
"""Without captum's warnings that it places hooks, which are on modules of our own."""

_drawing = threading.RLock()


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the generators that captum draws from, one thread at a time, and put them back as they were."""
    cuda = [torch.cuda.default_generators[device.index]] if device.type == "cuda" else []
    generators = [torch.default_generator, *cuda]
    with _drawing:
        before, of_numpy = [generator.get_state() for generator in generators], np.random.get_state()
        try:
            for generator in generators:
                generator.manual_seed(seed)
            np.random.seed(seed % 2**32)
            yield
        finally:
            for generator, state in zip(generators, before, strict=True):
                generator.set_state(state)
            np.random.set_state(of_numpy)
