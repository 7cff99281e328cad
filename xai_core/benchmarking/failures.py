"""What an error means for a run: what a row says, and whether another try is worth its time."""

from collections.abc import Iterator

import torch

from xai_core.benchmarking.reader import in_one_line
from xai_core.errors import DeviceError, SideEffectError, TimeLimitError
from xai_core.isolation.error_context import weights_changed
from xai_core.perturb import out_of_memory


def failure(error: Exception) -> tuple[str, bool]:
    """What failed, in one line, and whether it was for want of memory.

    The error lets go of where it was raised, and so of the tensors there, which another try needs the memory of.

    Raises
    ------
    DeviceError
        Where the device itself failed, so that nothing further can be computed in this process.
    """
    said, full = in_one_line(error), out_of_memory(error)
    for one in _chain(error):
        one.__traceback__ = None
    lost = isinstance(error, getattr(torch, "AcceleratorError", ())) or str(error).startswith("CUDA error")
    if lost and not full:
        raise DeviceError(f"the device failed, and the run with it ({said}); the same command goes on") from error
    return said, full


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it was raised from or after."""
    left, seen = [error], set[int]()
    while left:
        one = left.pop()
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            left += [before for before in (one.__cause__, one.__context__) if before is not None]


def whatever_the_image(error: Exception) -> bool:
    """Whether trying again with single images would only fail again."""
    return isinstance(error, TimeLimitError | SideEffectError) or weights_changed(error)
