"""How alike two maps are: SSIM and Spearman's rank correlation."""

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
    """Structural similarity of maps in [0,1], in [-1,1]: the mean over all windows that lie within the map.

    (2 m_x m_y + C1) (2 c_xy + C2) / ((m_x^2 + m_y^2 + C1) (v_x + v_y + C2)), with means m, variances v and covariance c
    under a Gaussian window of 11x11, sigma 1.5.

    Source: Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE TIP 2004,
    eq. 13.

    Raises
    ------
    OptionError
        Where a side is shorter than the window.
    """
    if min(x.shape[1:]) < WINDOW:
        raise OptionError(
            f"ssim needs maps of at least {WINDOW}x{WINDOW}, got {x.shape[1]}x{x.shape[2]}; use similarity=spearman"
        )
    mean_x, mean_y, square_x, square_y, product = smoothed(torch.stack([x, y, x * x, y * y, x * y]))
    variance_x, variance_y = square_x - mean_x * mean_x, square_y - mean_y * mean_y
    covariance = product - mean_x * mean_y
    alike = (2 * (mean_x * mean_y) + C1) * (2 * covariance + C2)
    most = (mean_x * mean_x + mean_y * mean_y + C1) * (variance_x + variance_y + C2)
    return (alike / most).mean((1, 2))


def smoothed(maps: Float[Tensor, "*N H W"]) -> Float[Tensor, "*N h w"]:
    """Means under the Gaussian window, where it lies within the map; sums, which no device rounds as convolutions."""
    gaussian = [math.exp(-0.5 * ((place - WINDOW // 2) / SIGMA) ** 2) for place in range(WINDOW)]
    for dim in (-1, -2):
        inside = maps.shape[dim] - WINDOW + 1
        parts = (weight / sum(gaussian) * maps.narrow(dim, start, inside) for start, weight in enumerate(gaussian))
        maps = reduce(torch.add, parts)
    return maps


def spearman(x: Float[Tensor, "B H W"], y: Float[Tensor, "B H W"]) -> Float[Tensor, " B"]:
    """Spearman's rank correlation of the pixels of two maps, in [-1,1]; equal pixels share the mean of their ranks."""
    return correlation(mean_ranks(x), mean_ranks(y))[0]


def mean_ranks(maps: Float[Tensor, "B H W"]) -> Float[Tensor, "B N"]:
    """The rank of each pixel, from the least; the mean of the ranks that equal pixels take up."""
    flat = maps.flatten(1).contiguous()
    ordered = flat.sort(1).values
    below, upto = (torch.searchsorted(ordered, flat, right=right) for right in (False, True))
    return (below + upto - 1).to(flat) / 2


SIMILARITIES = {"ssim": ssim, "spearman": spearman}


def map_similarity(x: Float[Tensor, "B H W"], y: Float[Tensor, "B H W"], kind: str) -> Float[Tensor, " B"]:
    """How alike maps are by `ssim` or `spearman`; where one is constant 0, and where both are 1."""
    flat_x, flat_y = (maps.amax((1, 2)) == maps.amin((1, 2)) for maps in (x, y))
    return SIMILARITIES[kind](x, y).where(~(flat_x | flat_y), (flat_x & flat_y).to(x))
