"""Recognition of errors that mean that memory ran out."""

import torch


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out.

    On the CPU, and outside PyTorch's allocator, such an error is a RuntimeError that only its message identifies.
    """
    messages = ("can't allocate memory", "CUDA error: out of memory")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(message in str(error) for message in messages)
    )
