"""Images that are blurred less and less, and images whose pixels are blurred by different amounts."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

LEVELS = 8
LARGEST = 20 / 224
"""Standard deviation of the strongest Gaussian, as a fraction of the shorter side of the image."""


def blur_pyramid(images: Float[Tensor, "B C *size"]) -> Float[Tensor, "L B C *size"]:
    """Blur images by Gaussians with equally spaced standard deviations, from the largest to zero."""
    largest = LARGEST * min(images.shape[-2:])
    blurred = [gaussian_blur(images, largest * (1 - level / (LEVELS - 1))) for level in range(LEVELS - 1)]
    return torch.stack([*blurred, images])


def gaussian_blur(images: Float[Tensor, "B C *size"], sigma: float) -> Float[Tensor, "B C *size"]:
    """Convolve images with a sampled Gaussian whose weights sum to one, with zeros outside of the image."""
    reach = math.ceil(4 * sigma)
    for axis in range(2, images.ndim):
        pixels = torch.arange(images.shape[axis], dtype=images.dtype, device=images.device)
        distances = (pixels - pixels[:, None]).abs()
        norm = sum(math.exp(-((offset / sigma) ** 2) / 2) for offset in range(-reach, reach + 1))
        matrix = torch.where(distances <= reach, (-((distances / sigma) ** 2) / 2).exp(), 0) / norm
        images = (images.movedim(axis, -1) @ matrix).movedim(-1, axis)
    return images


def at_levels(levels: Float[Tensor, "L B C *size"], masks: Float[Tensor, "B *size"]) -> Float[Tensor, "B C *size"]:
    """Interpolate linearly between levels: 0 selects the first level for a pixel, and 1 the last level."""
    position = masks[:, None] * (len(levels) - 1)
    lower = position.detach().floor().clamp_max(len(levels) - 2)
    index = lower.long()[None].expand(1, *levels.shape[1:])
    return torch.lerp(levels.gather(0, index)[0], levels.gather(0, index + 1)[0], position - lower)
