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

    d is the distance from the center. The standard deviation along the depth of volumes is sigma D.

    Parameters
    ----------
    sigma
        Standard deviation as a fraction of the shorter side, > 0.
    """

    name = "center"
    volumes = True
    targeted: ClassVar[bool] = False

    def __init__(self, sigma: float = 0.25) -> None:
        self.sigma = check_number("sigma", sigma, above=0)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request nothing."""
        return xai.Needs()

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B *size"]:
        """Multiply Gaussians over rows and columns, and over the depth of volumes."""
        batch, _, *depth, height, width = captured.images.shape
        gaussian = self.gaussian(height, min(height, width), captured.images)[:, None]
        gaussian = gaussian * self.gaussian(width, min(height, width), captured.images)
        for slices in depth:
            gaussian = self.gaussian(slices, slices, captured.images)[:, None, None] * gaussian
        return gaussian.expand(batch, *gaussian.shape)

    def gaussian(self, side: int, extent: int, like: Tensor) -> Float[Tensor, " side"]:
        """Return a Gaussian along one side. The standard deviation is a fraction of `extent`."""
        distance = torch.arange(side, device=like.device) - (side - 1) / 2
        return (-(distance**2) / (2 * (self.sigma * extent) ** 2)).exp()
