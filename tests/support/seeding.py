"""Seeds the random numbers of PyTorch."""

import torch


def seed(number: int = 0) -> None:
    """Seed the generators of the CPU, and of CUDA devices in use.

    `torch.manual_seed` also formats a stack trace for each kind of device that is not in use, which takes longer than
    many tests.
    """
    torch.default_generator.manual_seed(number)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(number)
