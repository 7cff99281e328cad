"""Noisy copies of images."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor


def noisy_copies(
    images: Float[Tensor, "B C *size"], n: int, sigma: float, seed: int
) -> Iterator[Float[Tensor, "B C *size"]]:
    """Yield n copies of the images with Gaussian noise, which is the same for every image of a batch.

    The standard deviation is `sigma` times the difference between the largest and the smallest value of each image.
    """
    dims = tuple(range(1, images.ndim))
    deviation = sigma * (images.amax(dims, keepdim=True) - images.amin(dims, keepdim=True))
    generator = torch.Generator().manual_seed(seed)
    for _ in range(n):
        noise = torch.randn(images.shape[1:], generator=generator).to(images, non_blocking=True)
        yield images + deviation * noise
