"""Blur integrated gradients."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import GradientAttribution, ImageBlock
from xai_captum.path_gradients import gradients_along
from xai_core.plugin import SharedModel, check_integer, check_number

IDENTITY = 1e-3
"""Standard deviation in pixels, at which the Gaussian is the identity in float32 and in float64."""


class BlurIG(GradientAttribution):
    """Blur integrated gradients: the gradient, integrated along a path from the blurred image to the image.

        int_s^0 dy/dx(G_t * x) d(G_t * x)/dt dt

    G_t is a Gaussian with a standard deviation of t pixels, and outside of the image are zeros. The integral is the sum
    over the steps of the path of each step times the mean of the gradients at its ends. The attribution sums to
    y(x) - y(G_s * x), if there are enough steps.

    Source: Xu, Venugopalan and Sundararajan, "Attribution in Scale and Space", CVPR 2020.

    Parameters
    ----------
    max_sigma
        Standard deviation s at which the path begins, in pixels.
    n_steps
        Number of steps, with equal differences of t.
    channels
        How the channels are reduced: `sum`, `positive`, `abs`, `max` or `norm`. See
        `xai_core.plugin.reduce_channels`.
    """

    name = "blur-ig"

    def __init__(self, max_sigma: float = 50, n_steps: int = 100, channels: str = "positive") -> None:
        super().__init__(channels)
        self.max_sigma = check_number("max_sigma", max_sigma, above=0)
        self.n_steps = check_integer("n_steps", n_steps, 1)

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count one for each of the n + 1 points, and one for the shared pass."""
        return 2 + self.n_steps

    def attribute(self, model: SharedModel, block: ImageBlock, adapter: xai.ModelAdapter) -> Float[Tensor, "N C *size"]:
        """Integrate from the blurred images to the images."""
        images = block.images.detach()

        def path(sigmas: Float[Tensor, " S"]) -> Float[Tensor, "S N C *size"]:
            return blurred(images, sigmas, self.max_sigma)

        sigmas = torch.linspace(self.max_sigma, 0, self.n_steps + 1, dtype=images.dtype, device=images.device)
        total = torch.zeros_like(images)
        for points, _, gradients in gradients_along(path, sigmas, model, block.indices):
            total += (points.diff(dim=0) * (gradients[1:] + gradients[:-1]) / 2).sum(0)
        return total


def blurred(
    images: Float[Tensor, "N C *size"], sigmas: Float[Tensor, " S"], max_sigma: float
) -> Float[Tensor, "S N C *size"]:
    """Convolve images with Gaussians, one axis after the other, with zeros outside of the image."""
    points = images.expand(len(sigmas), *images.shape)
    for axis in range(3, points.ndim):
        gaussians = gaussian_matrices(sigmas, points.shape[axis], max_sigma)
        matrices = gaussians.view(len(sigmas), *[1] * (points.ndim - 3), *gaussians.shape[1:])
        points = (points.movedim(axis, -1) @ matrices).movedim(-1, axis)
    return points


def gaussian_matrices(sigmas: Float[Tensor, " S"], size: int, max_sigma: float) -> Float[Tensor, "S {size} {size}"]:
    """Return the matrices that convolve a line of pixels with sampled Gaussians, whose weights sum to 1."""
    reach = max(size - 1, math.ceil(9 * max_sigma))  # the weights beyond are below 1e-17
    offsets = torch.arange(-reach, reach + 1, dtype=sigmas.dtype, device=sigmas.device)
    weights = (-((offsets / sigmas.clamp(min=IDENTITY)[:, None]) ** 2) / 2).softmax(1)
    index = torch.arange(size, device=sigmas.device)
    return weights[:, index - index[:, None] + reach]
