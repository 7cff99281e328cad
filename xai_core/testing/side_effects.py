"""Side effects that a plugin can leave: on the model, in the global random number generators, in memory."""

import functools
import gc
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xai_core.isolation.tensor_memory import live_bytes

Snapshot = dict[str, dict[str, Any]]
"""State of a model. The keys are a property, and the name of a module, parameter or buffer."""


def model_snapshot(model: nn.Module) -> Snapshot:
    """Return everything about a model that a plugin could change: values, flags, attributes and hooks."""
    tensors: dict[str, Tensor] = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    modules = dict(model.named_modules())
    return {
        "the values": {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()},
        "the tensors": {name: id(tensor) for name, tensor in tensors.items()},
        "requires_grad": {name: tensor.requires_grad for name, tensor in tensors.items()},
        ".grad": {name: tensor.grad for name, tensor in tensors.items()},
        "the training flag": {name: module.training for name, module in modules.items()},
        "the attributes": {name: sorted(vars(module)) for name, module in modules.items()},
        "the hooks": {
            name: [len(hooks) for key, hooks in vars(module).items() if "hooks" in key and hooks is not None]
            for name, module in modules.items()
        },
    }


def changes(before: Snapshot, after: Snapshot) -> str:
    """Describe the differences between two snapshots of a model, or return an empty string if there are none."""
    differences = []
    for what, old in before.items():
        new = after[what]
        names = [name for name in {**old, **new} if not _equal(old.get(name), new.get(name))]
        if names:
            others = f" and {len(names) - 1} more" if len(names) > 1 else ""
            differences.append(f"{what} of {names[0] or 'the model itself'!r}{others}")
    return ", ".join(differences)


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first.shape == second.shape and torch.equal(first, second)
    return first is second or (
        not isinstance(first, Tensor) and not isinstance(second, Tensor) and bool(first == second)
    )


def seed_global_generators(seed: int) -> None:
    """Seed the global generators of PyTorch, NumPy and Python."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def leaked_bytes(call: Callable[[], object]) -> int:
    """Return the number of bytes of tensors that a call leaves in memory after its result is discarded."""
    freezes = _freezes_objects()
    gc.freeze()  # excludes existing objects from collection, which would take most of the time
    try:
        before = live_bytes()
        call()
        gc.collect()
        return live_bytes() - before
    finally:
        if not freezes:
            gc.unfreeze()


@functools.cache
def _freezes_objects() -> bool:
    """Return whether this process has frozen objects itself. Counting them takes as long as some checks."""
    return gc.get_freeze_count() > 0
