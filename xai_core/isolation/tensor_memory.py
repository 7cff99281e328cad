"""How many bytes live tensors hold: what is kept that should have been let go shows as growth."""

import gc

import torch
from torch import Tensor


def live_bytes() -> int:
    """The bytes of all tensors that Python holds on the CPU, each storage counted once, and all allocated on GPUs.

    On the CPU, what only a graph of gradients holds is not seen. It looks at every object that Python knows, about
    half a second for a million. What is held in circles counts until `gc.collect()`.
    """
    storages: dict[int, int] = {}
    for one in gc.get_objects():
        if issubclass(type(one), Tensor):
            try:
                if one.device.type == "cpu":
                    storage = one.untyped_storage()
                    storages[storage.data_ptr()] = storage.nbytes()
            except (RuntimeError, NotImplementedError):  # sparse or fake, without a storage of its own
                pass
    held = sum(size for place, size in storages.items() if place)
    if torch.cuda.is_available():
        held += sum(map(torch.cuda.memory_allocated, range(torch.cuda.device_count())))
    return held
