"""The center."""

import math
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_faithfulness.options import number


class Center(xai.Explainer):
    """Center: a Gaussian about the middle of the image, which knows nothing of the image, the model or the target.

    L_ij = exp(-d_ij^2 / 2 s^2), d the distance from the middle, s = sigma min(H, W).

    Parameters
    ----------
    sigma
        Standard deviation as a share of the shorter side; positive.
    """

    name = "center"
    targeted: ClassVar[bool] = False

    def __init__(self, sigma: float = 0.25) -> None:
        self.sigma = number("sigma", sigma, lambda sigma: 0 < sigma < math.inf, "above 0")

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Nothing."""
        return xai.Needs()

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B H W"]:
        """Take the product of a Gaussian over rows and one over columns."""
        batch, _, height, width = captured.images.shape
        deviation = self.sigma * min(height, width)
        rows, columns = (
            (-((torch.arange(size, device=captured.images.device) - (size - 1) / 2) ** 2) / (2 * deviation**2)).exp()
            for size in (height, width)
        )
        return torch.outer(rows, columns).expand(batch, -1, -1)
