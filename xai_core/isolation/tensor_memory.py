"""Memory of live tensors. Growth over time shows that something keeps tensors."""

import gc

import torch
from torch import Tensor


def live_bytes() -> int:
    """Return the bytes of all tensors that Python references on the CPU, plus all bytes allocated on GPUs.

    Each storage counts once. On the CPU, tensors that only an autograd graph references do not count. Reference cycles
    count until `gc.collect()`. The function visits every Python object: half a second for a million objects.
    """
    storages: dict[int, int] = {}
    for candidate in gc.get_objects():
        if issubclass(type(candidate), Tensor):
            try:
                if candidate.device.type == "cpu":
                    storage = candidate.untyped_storage()
                    storages[storage.data_ptr()] = storage.nbytes()
            except (RuntimeError, NotImplementedError):  # sparse and fake tensors have no storage
                pass
    total = sum(size for address, size in storages.items() if address)
    if torch.cuda.is_available():
        total += sum(map(torch.cuda.memory_allocated, range(torch.cuda.device_count())))
    return total
