"""Center."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import check_number


class Center(xai.Explainer):
    """Center: a Gaussian around the center of the image, which does not depend on the image, the model or the target.

        L_ij = exp(-d_ij^2 / 2 s^2),    s = sigma min(H, W)

    d is the distance from the center.

    Parameters
    ----------
    sigma
        Standard deviation as a fraction of the shorter side, > 0.
    """

    name = "center"
    targeted: ClassVar[bool] = False

    def __init__(self, sigma: float = 0.25) -> None:
        self.sigma = check_number("sigma", sigma, above=0)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request nothing."""
        return xai.Needs()

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B H W"]:
        """Multiply a Gaussian over rows by a Gaussian over columns."""
        batch, _, height, width = captured.images.shape
        deviation = self.sigma * min(height, width)
        rows, columns = (
            (-((torch.arange(size, device=captured.images.device) - (size - 1) / 2) ** 2) / (2 * deviation**2)).exp()
            for size in (height, width)
        )
        return torch.outer(rows, columns).expand(batch, -1, -1)
