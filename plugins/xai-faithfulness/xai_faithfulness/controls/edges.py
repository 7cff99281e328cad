"""Edges."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai


class Edges(xai.Explainer):
    """Edges: the magnitude of the image's gradient, which does not depend on the model or the target.

        L = sqrt(sum_a G_a^2)

    G_a is the Sobel derivative of the mean over channels along axis a: x and y, and the depth of volumes. Border pixels
    are replicated.

    Source: Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018, section 5.2, where an edge detector is
    mistaken for an explanation.
    """

    name = "edges"
    volumes = True
    targeted: ClassVar[bool] = False

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request nothing."""
        return xai.Needs()

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B *size"]:
        """Return the norm of the derivatives along all axes."""
        gray = captured.images.float().mean(1)
        return torch.stack([sobel(gray, axis) for axis in range(1, gray.ndim)]).square().sum(0).sqrt()


def sobel(gray: Float[Tensor, "B *size"], axis: int) -> Float[Tensor, "B *size"]:
    """Return the Sobel derivative along an axis: differences of both neighbors, weighted by 1 2 1 along other axes."""
    for each in range(1, gray.ndim):
        before, after = neighbor(gray, each, -1), neighbor(gray, each, 1)
        gray = after - before if each == axis else before + 2 * gray + after
    return gray


def neighbor(gray: Float[Tensor, "B *size"], axis: int, step: int) -> Float[Tensor, "B *size"]:
    """Return the neighbor of each pixel along an axis. Beyond the border, it is the border pixel."""
    side = gray.shape[axis]
    return gray.index_select(axis, (torch.arange(side, device=gray.device) + step).clamp(0, side - 1))
