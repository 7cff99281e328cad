"""Random numbers of one's own, whoever draws them."""

from typing import Any

import torch
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from xai_core.plugin import UnsuitableError


class OwnGenerator(TorchDispatchMode):
    """Whatever this thread draws on the host comes from a generator of its own, and torch's are left alone."""

    def __init__(self, seed: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._generator = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(self, func: OpOverload, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Give the generator to each operation that draws and was given none."""
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded in func.tags and kwargs.get("generator") is None:
            func, kwargs = taking_generator(func), {**kwargs, "generator": self._generator}
        return func(*args, **kwargs)


def taking_generator(func: OpOverload) -> OpOverload:
    """The form of an operation that takes a generator, and all else as this one does.

    Raises
    ------
    UnsuitableError
        Where there is none.
    """
    wanted = {argument.name for argument in func._schema.arguments} | {"generator"}
    packet = func.overloadpacket
    for overload in (getattr(packet, name) for name in packet.overloads()):
        if {argument.name for argument in overload._schema.arguments} == wanted:
            return overload
    raise UnsuitableError(f"a module's `reset_parameters` draws by {func}, which takes no generator")
