"""Sites: the tensors that modules return in one forward pass, each with its module, call and path."""

import math
from dataclasses import dataclass

from xai_core.outputs import Path


@dataclass(frozen=True)
class Site:
    """One tensor that one call of a module returns.

    Attributes
    ----------
    layer
        The module name.
    call
        The index of the call among the calls of this module in one forward pass, from 0.
    path
        The path of the tensor in the module's output.
    shape
        The shape of the tensor for one image.
    nbytes
        The size of the tensor in bytes, for one image.
    """

    layer: str
    call: int
    path: Path
    shape: tuple[int, ...]
    nbytes: int

    @property
    def values(self) -> int:
        """The number of values for one image."""
        return math.prod(self.shape)


def split_call(name: str) -> tuple[str, int | None]:
    """Return the module name and the call number in a layer name such as `conv@0`. Without a number: None."""
    layer, at, call = name.rpartition("@")
    return (layer, int(call)) if at and call.isdigit() else (name, None)
