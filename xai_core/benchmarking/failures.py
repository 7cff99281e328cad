"""Classification of errors: whether memory ran out, and whether a retry can succeed."""

from collections.abc import Iterator

import torch

from xai_core.benchmarking.reader import in_one_line
from xai_core.error_text import causes_of, message_of, remove_traceback
from xai_core.errors import DeviceError, SideEffectError, TimeLimitError
from xai_core.isolation.error_context import weights_changed
from xai_core.memory_errors import out_of_memory


def describe_failure(error: Exception) -> tuple[str, bool]:
    """Return the error in one line, and whether it means that memory ran out.

    Tracebacks are removed from the error and its causes, because their frames keep tensors alive, and a retry
    needs the memory.

    Raises
    ------
    DeviceError
        If the device itself failed, so that this process can compute nothing more.
    """
    message, memory_ran_out = in_one_line(error), out_of_memory(error)
    for each in _with_causes(error):
        remove_traceback(each)
    failed_in_torch = issubclass(type(error), getattr(torch, "AcceleratorError", ()))
    device_failed = failed_in_torch or message_of(error).startswith("CUDA error")
    if device_failed and not memory_ran_out:
        raise DeviceError(
            f"the device failed, which ends the run ({message}); repeat the same command to resume"
        ) from error
    return message, memory_ran_out


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """Iterate over an error and the chain of its causes and contexts."""
    pending, seen = [error], set[int]()
    while pending:
        current = pending.pop()
        if id(current) not in seen:
            seen.add(id(current))
            yield current
            pending += causes_of(current)


def is_deterministic(error: Exception) -> bool:
    """Return whether the failure does not depend on the image, so that retries with single images are useless."""
    return isinstance(error, TimeLimitError | SideEffectError) or weights_changed(error)
