"""What a plugin could leave behind: on the model, in the generators of random numbers, in memory."""

import gc
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xai_core.isolation.tensor_memory import live_bytes


def trace(model: nn.Module) -> dict[str, dict[str, Any]]:
    """Everything about a model that could change, by what it is called and by name."""
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


def difference(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> str:
    """What differs between two traces, and where first, or nothing."""
    said = []
    for what, known in before.items():
        now = after[what]
        names = [name for name in {**known, **now} if not _same(known.get(name), now.get(name))]
        if names:
            said.append(
                f"{what} of {names[0] or 'the model itself'!r}" + f" and {len(names) - 1} more" * (len(names) > 1)
            )
    return ", ".join(said)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    return one is other or (not isinstance(one, Tensor) and not isinstance(other, Tensor) and bool(one == other))


def random_state() -> dict[str, Any]:
    """The states of the generators that tensors and arrays are drawn from in the whole process."""
    states = {
        "torch": torch.get_rng_state().tolist(),
        "numpy": [part.tolist() if isinstance(part, np.ndarray) else part for part in np.random.get_state()],
    }
    if torch.cuda.is_available():
        states["torch.cuda"] = [state.tolist() for state in torch.cuda.get_rng_state_all()]
    return states


def stir(seed: int) -> None:
    """Seed them otherwise, and Python's own, which type checkers draw from."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def live_bytes_of(call: Callable[[], object]) -> int:
    """The bytes of the tensors that a call leaves behind, once what it gave is gone."""
    gc.freeze()  # what is there already, garbage too, is not looked at, which would take most of the time
    try:
        before = live_bytes()
        call()
        gc.collect()
        return live_bytes() - before
    finally:
        gc.unfreeze()
