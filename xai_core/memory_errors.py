"""Recognition of errors that mean that memory ran out."""

import torch

from xai_core.error_text import message_of


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out.

    On the CPU, and outside PyTorch's allocator, such an error is a RuntimeError that can be recognized only by its
    message.
    """
    messages = ("can't allocate memory", "CUDA error: out of memory")
    kind = type(error)  # `isinstance` would run code of the exception
    return issubclass(kind, torch.OutOfMemoryError | MemoryError) or (
        issubclass(kind, RuntimeError) and any(message in message_of(error) for message in messages)
    )
