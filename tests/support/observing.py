"""What a call does to a model and to tensors: parameters and hooks, passes, tensor sizes, reads on the host."""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode


def trace(model: nn.Module) -> dict[str, Any]:
    """Everything about a model that an explanation could change."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        "values": {name: tensor.detach().clone() for name, tensor in tensors.items()},
        "identities": {name: id(tensor) for name, tensor in tensors.items()},
        "requires_grad": {name: tensor.requires_grad for name, tensor in tensors.items()},
        "grad": {name: tensor.grad for name, tensor in tensors.items()},
        "training": {name: module.training for name, module in model.named_modules()},
        "attributes": {name: sorted(vars(module)) for name, module in model.named_modules()},
        "hooks": {
            name: [len(hooks) for key, hooks in vars(module).items() if "hooks" in key and hooks is not None]
            for name, module in model.named_modules()
        },
        "grad mode": torch.is_grad_enabled(),
    }


def everything(model: nn.Module) -> dict[str, Any]:
    """The same, in a form that `==` compares."""
    seen = trace(model)
    return {**seen, "values": {name: value.tolist() for name, value in seen["values"].items()}}


class Largest(TorchDispatchMode):
    """Keeps the number of elements of the largest tensor that is made."""

    def __init__(self) -> None:
        super().__init__()
        self.made = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in made if isinstance(made, tuple | list) else [made]:
            if isinstance(one, Tensor):
                self.made = max(self.made, one.numel())
        return made


@contextlib.contextmanager
def given_to(model: nn.Module) -> Iterator[list[Tensor]]:
    """The batches of images that a model is given."""
    given: list[Tensor] = []
    handle = model.register_forward_pre_hook(lambda _, args: given.append(args[0].detach().clone()))
    try:
        yield given
    finally:
        handle.remove()


@contextmanager
def counted(model: nn.Module) -> Iterator[dict[str, int]]:
    """Count forwards of the model and runs of autograd's engine."""
    counts = {"forward": 0, "backward": 0}

    def forward(*_: Any) -> None:
        counts["forward"] += 1

    backward = torch.autograd.graph._engine_run_backward

    def run(*args: Any, **kwargs: Any) -> Any:
        counts["backward"] += 1
        return backward(*args, **kwargs)

    handle = model.register_forward_hook(forward)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.autograd._engine_run_backward", run)
        patch.setattr("torch.autograd.graph._engine_run_backward", run)
        yield counts
    handle.remove()


class HostReads(TorchDispatchMode):
    """Counts what moves values from tensors to the host."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__.partition(".")[0]
        if name in ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "unique"):
            self.reads.append(name)
        if name == "_to_copy" and (kwargs or {}).get("device") == torch.device("cpu"):
            self.reads.append(name)
        return func(*args, **(kwargs or {}))
