"""What captum does to the whole process, kept from it: its warnings, and draws from generators that all code shares."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np
import torch

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


def unwarned(attribute: Any) -> Callable[..., Any]:
    """Copy a method of captum's that warns at every call that it places hooks, which are on modules of our own.

    The copy has a `warnings` that says nothing. The filters are the process's, and no thread's to change.
    """
    method = attribute.__wrapped__
    silent = {**method.__globals__, "warnings": SimpleNamespace(warn=lambda *_, **__: None)}
    return FunctionType(method.__code__, silent, method.__name__, method.__defaults__, method.__closure__)
