"""Private random generator for code that draws from PyTorch's global generators."""

from typing import Any

import torch
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from xai_core.plugin import UnsuitableError


class PrivateGenerator(TorchDispatchMode):
    """Context in which all random numbers of this thread on the host come from a private generator.

    PyTorch's global generators are not used.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._generator = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(self, func: OpOverload, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Pass the generator to each random operation that was called without one."""
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded in func.tags and kwargs.get("generator") is None:
            func, kwargs = overload_with_generator(func), {**kwargs, "generator": self._generator}
        return func(*args, **kwargs)


def overload_with_generator(func: OpOverload) -> OpOverload:
    """Return the overload of an operation with the same arguments and a generator.

    Raises
    ------
    UnsuitableError
        If there is no such overload.
    """
    arguments = {argument.name for argument in func._schema.arguments} | {"generator"}
    packet = func.overloadpacket
    for overload in (getattr(packet, name) for name in packet.overloads()):
        if {argument.name for argument in overload._schema.arguments} == arguments:
            return overload
    raise UnsuitableError(
        f"a module's `reset_parameters` uses the random operation {func}, which takes no generator; "
        "parameter-randomization does not support this module"
    )
