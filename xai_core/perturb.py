"""Perturbation: baselines, pixel ranks and the steps of perturbation curves."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from xai_core.errors import OptionError

Baseline = str | Tensor
"""`zero`, `mean`, `blur`, `min`, `max`, `noise`, or a tensor. See `baseline_images`."""
BLUR_SIZE, BLUR_SIGMA = 11, 5.0


def baseline_images(
    baseline: Baseline, images: Float[Tensor, "B C *size"], seed: int = 0
) -> Float[Tensor, "B C *size"]:
    """Return the images whose pixels replace removed pixels, in the normalized space of the model's input.

    Parameters
    ----------
    baseline
        The mean color of each image (`mean`), blurred images as in RISE's reference code (`blur`), or `zero`. The
        smallest (`min`) and the largest (`max`) value of each image are near black and white. Standard normal `noise`
        is the same for every image of the batch. A tensor must broadcast to the images.
    images
        The images.
    seed
        The random seed of `noise`.

    Raises
    ------
    OptionError
        If the baseline has another value.
    """
    if isinstance(baseline, Tensor):
        try:
            return baseline.to(images).expand_as(images)
        except RuntimeError:
            raise OptionError(
                f"a baseline tensor must be broadcastable to {list(images.shape)}, got {list(baseline.shape)}"
            ) from None
    match baseline:
        case "zero":
            return torch.zeros_like(images)
        case "mean":
            return images.mean(tuple(range(2, images.ndim)), keepdim=True).expand_as(images)
        case "blur":
            return blur(images)
        case "min" | "max":
            extreme = images.amin if baseline == "min" else images.amax
            return extreme(tuple(range(1, images.ndim)), keepdim=True).expand_as(images)
        case "noise":
            generator = torch.Generator().manual_seed(seed)
            noise = torch.randn(images.shape[1:], generator=generator).to(images, non_blocking=True)
            return noise.expand_as(images)
    raise OptionError(f"baseline must be zero, mean, blur, min, max, noise or a tensor, got {baseline!r}")


def blur(images: Float[Tensor, "B C *size"], size: int = BLUR_SIZE, sigma: float = BLUR_SIGMA) -> Tensor:
    """Blur images like RISE's reference code: convolution with a smoothed unit impulse of `size`, with zero padding.

    The impulse is smoothed by a Gaussian that is truncated at four sigma, with reflecting boundary, so that it sums to
    one. It is separable, so it is applied to rows and columns one after the other, and to the depth of volumes.
    """
    line = _smoothed_impulse(size, sigma).to(images, non_blocking=True)
    channels, pad = images.shape[1], size // 2
    dims = images.ndim - 2
    convolve = F.conv2d if dims == 2 else F.conv3d
    for axis in range(dims):
        shape, padding = [1] * dims, [0] * dims
        shape[axis], padding[axis] = size, pad
        kernel = line.view(1, 1, *shape).expand(channels, 1, *shape)
        images = convolve(images, kernel, padding=padding, groups=channels)
    return images


def _smoothed_impulse(size: int, sigma: float) -> Float[Tensor, " size"]:
    radius = int(4 * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    gaussian = (-0.5 * (offsets / sigma) ** 2).exp()
    gaussian /= gaussian.sum()
    positions = size // 2 + offsets.long()
    period = positions % (2 * size)
    reflected = torch.where(period < size, period, 2 * size - 1 - period)
    return torch.zeros(size, dtype=torch.float64).index_add(0, reflected, gaussian)


def ranks(saliency: Float[Tensor, "B *size"], ties: str = "stable", seed: int = 0) -> Int[Tensor, "B *size"]:
    """Return the rank of each pixel, 0 for the most salient.

    Parameters
    ----------
    saliency
        The maps.
    ties
        The order of pixels with equal values: `stable` (by index) or `random`.
    seed
        The random seed of `random`.

    Raises
    ------
    OptionError
        If `ties` has another value.
    """
    flat = saliency.flatten(1)
    count = flat.shape[1]
    if ties == "stable":
        order = flat.argsort(dim=1, descending=True, stable=True)
    elif ties == "random":
        shuffled = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).to(
            flat.device, non_blocking=True
        )
        order = shuffled[flat[:, shuffled].argsort(dim=1, descending=True, stable=True)]
    else:
        raise OptionError(f"ties must be stable or random, got {ties!r}")
    rank = torch.arange(count, device=flat.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, rank).view_as(saliency)


def steps_of(size: tuple[int, ...], steps: int | None) -> list[int]:
    """Return the number of pixels replaced at each point of a perturbation curve, from none to all.

    Parameters
    ----------
    size
        The (H, W) of the images, (D, H, W) of volumes, or the size of a grid of regions.
    steps
        The number of equal steps. Default: W pixels per step, or D * W pixels for volumes.

    Raises
    ------
    OptionError
        If `steps` is less than 1 or greater than the number of pixels.
    """
    pixels = math.prod(size)
    if steps is None:
        return [*range(0, pixels, pixels // size[-2]), pixels]
    if not 1 <= steps <= pixels:
        raise OptionError(f"steps must be between 1 and the number of pixels or regions ({pixels}); got {steps}")
    return [round(i * pixels / steps) for i in range(steps + 1)]
