"""Percentiles of maps."""

import math

from jaxtyping import Float
from torch import Tensor


def percentile(maps: Float[Tensor, "B K *grid"], percent: float) -> Float[Tensor, "B K *one"]:
    """Return a percentile of each map, with linear interpolation.

    In contrast to `torch.quantile`, nothing is copied to the device.
    """
    values = maps.flatten(2).sort(2).values
    position = percent / 100 * (values.shape[2] - 1)
    low, high = math.floor(position), math.ceil(position)
    result = values[..., low].lerp(values[..., high], position - low)
    return result.view(*result.shape, *[1] * (maps.ndim - 2))
