"""Protection from captum's effects on the whole process: its warnings and its use of shared random generators."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np
import torch

_generators_in_use = threading.RLock()


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the random generators that captum uses, and restore their states at the end.

    Only one thread at a time is inside such a block.
    """
    cuda = [torch.cuda.default_generators[device.index]] if device.type == "cuda" else []
    generators = [torch.default_generator, *cuda]
    with _generators_in_use:
        states, numpy_state = [generator.get_state() for generator in generators], np.random.get_state()
        try:
            for generator in generators:
                generator.manual_seed(seed)
            np.random.seed(seed % 2**32)
            yield
        finally:
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)
            np.random.set_state(numpy_state)


def without_warnings(attribute: Any) -> Callable[..., Any]:
    """Return a copy of a method of captum that does not warn about the hooks that it registers.

    The method warns at every call, although the hooks are on a copy of the model. Warning filters apply to the whole
    process, so a thread must not change them. Instead, the copy gets a `warnings` module without effect.
    """
    method = attribute.__wrapped__
    silent = {**method.__globals__, "warnings": SimpleNamespace(warn=lambda *_, **__: None)}
    return FunctionType(method.__code__, silent, method.__name__, method.__defaults__, method.__closure__)
