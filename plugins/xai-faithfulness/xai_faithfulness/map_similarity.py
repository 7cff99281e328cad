"""Similarity of two maps: SSIM and Spearman's rank correlation."""

import math
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor

from xai_core.plugin import OptionError
from xai_faithfulness.correlation import correlation

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2


def ssim(x: Float[Tensor, "B H W"], y: Float[Tensor, "B H W"]) -> Float[Tensor, " B"]:
    """Return the structural similarity of maps in [0,1], in [-1,1].

        (2 m_x m_y + C1) (2 c_xy + C2) / ((m_x^2 + m_y^2 + C1) (v_x + v_y + C2))

    The means m, variances v and covariance c are computed under a Gaussian window of 11x11 with sigma 1.5. The result
    is the mean over all windows that lie within the map.

    Source: Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE TIP 2004, eq.
    13.

    Raises
    ------
    OptionError
        If a side is shorter than the window.
    """
    if min(x.shape[1:]) < WINDOW:
        raise OptionError(
            f"ssim requires maps of at least {WINDOW}x{WINDOW}, got {x.shape[1]}x{x.shape[2]}; use similarity=spearman"
        )
    mean_x, mean_y, square_x, square_y, product = gaussian_means(torch.stack([x, y, x * x, y * y, x * y]))
    variance_x, variance_y = square_x - mean_x * mean_x, square_y - mean_y * mean_y
    covariance = product - mean_x * mean_y
    numerator = (2 * (mean_x * mean_y) + C1) * (2 * covariance + C2)
    denominator = (mean_x * mean_x + mean_y * mean_y + C1) * (variance_x + variance_y + C2)
    return (numerator / denominator).mean((1, 2))


def gaussian_means(maps: Float[Tensor, "*N H W"]) -> Float[Tensor, "*N h w"]:
    """Return the means under each Gaussian window that lies within the map.

    They are computed as sums, because devices may round convolutions.
    """
    gaussian = [math.exp(-0.5 * ((pixel - WINDOW // 2) / SIGMA) ** 2) for pixel in range(WINDOW)]
    for dim in (-1, -2):
        inside = maps.shape[dim] - WINDOW + 1
        terms = (weight / sum(gaussian) * maps.narrow(dim, start, inside) for start, weight in enumerate(gaussian))
        maps = reduce(torch.add, terms)
    return maps


def spearman(x: Float[Tensor, "B H W"], y: Float[Tensor, "B H W"]) -> Float[Tensor, " B"]:
    """Return Spearman's rank correlation of the pixels of two maps, in [-1,1]. Equal pixels share their mean rank."""
    return correlation(mean_ranks(x), mean_ranks(y))[0]


def mean_ranks(maps: Float[Tensor, "B H W"]) -> Float[Tensor, "B N"]:
    """Return the rank of each pixel, 0 for the smallest value. Equal pixels share the mean of their ranks."""
    flat = maps.flatten(1).contiguous()
    ordered = flat.sort(1).values
    below, up_to = (torch.searchsorted(ordered, flat, right=right) for right in (False, True))
    return (below + up_to - 1).to(flat) / 2


SIMILARITIES = {"ssim": ssim, "spearman": spearman}


def map_similarity(x: Float[Tensor, "B H W"], y: Float[Tensor, "B H W"], kind: str) -> Float[Tensor, " B"]:
    """Return the similarity of maps by `ssim` or `spearman`: 0 if one map is constant, and 1 if both are constant."""
    constant_x, constant_y = (maps.amax((1, 2)) == maps.amin((1, 2)) for maps in (x, y))
    return SIMILARITIES[kind](x, y).where(~(constant_x | constant_y), (constant_x & constant_y).to(x))
