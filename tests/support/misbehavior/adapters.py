"""Model adapters that misbehave when the engine selects an adapter."""

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from support.misbehavior.case import Kind, Misbehavior
from support.misbehavior.exceptions import raising
from support.misbehavior.model import zero_output
from support.misbehavior.time_limits import sleep
from xai_core.errors import PluginWarning


def _case(name: str, description: str, act: Callable[[nn.Module], Any], message: str) -> Misbehavior:
    return Misbehavior(act, f"It {description}.", PluginWarning, message, key=f"adapter-{name}")


ADAPTERS = Kind(
    "adapters",
    "Model adapters",
    "The adapter is skipped, and the change is undone.",
    (
        _case(
            "raises",
            "is an adapter that raises an exception",
            raising(lambda: RuntimeError("not today")),
            "RuntimeError: not today",
        ),
        _case("exits", "is an adapter that exits", lambda model: sys.exit(3), "PluginContractError: .* SystemExit: 3"),
        _case(
            "hook",
            "is an adapter that registers a hook",
            lambda model: model.register_forward_hook(zero_output),
            "SideEffectError: .* changed the model: a forward hook on ",
        ),
        _case(
            "freezes",
            "is an adapter that sets `requires_grad`",
            lambda model: model.requires_grad_(False),
            "SideEffectError: .* changed the model: requires_grad of ",
        ),
        _case(
            "seeds",
            "is an adapter that seeds the generator of PyTorch",
            lambda model: torch.manual_seed(0),
            "SideEffectError: .* changed the process: the random state of PyTorch",
        ),
        _case("sleeps", "is an adapter that takes too long", sleep, "TimeLimitError: .* took longer than"),
    ),
    time_limit=0.1,
    tests=(
        "tests/isolation/test_misbehavior.py::test_adapter",
        "tests/benchmarking/test_misbehavior.py::test_adapters",
    ),
)
