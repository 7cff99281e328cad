"""Edges."""

from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

import xai_core as xai


class Edges(xai.Explainer):
    """Edges: the magnitude of the image's gradient, which does not depend on the model or the target.

        L = sqrt(G_x^2 + G_y^2)

    G are the Sobel derivatives of the mean over channels, with the border pixels replicated.

    Source: Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018, section 5.2, where an edge detector is
    mistaken for an explanation.
    """

    name = "edges"
    targeted: ClassVar[bool] = False

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request nothing."""
        return xai.Needs()

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B H W"]:
        """Return the norm of the horizontal and the vertical derivative."""
        gray = captured.images.float().mean(1, keepdim=True)
        padded = F.pad(gray, (1, 1, 1, 1), mode="replicate")[:, 0]
        across = sobel(padded)
        down = sobel(padded.mT).mT
        return (across.square() + down.square()).sqrt()


def sobel(padded: Float[Tensor, "B h w"]) -> Float[Tensor, "B h-2 w-2"]:
    """Return the Sobel derivative along rows: differences of both neighbors, weighted by 1 2 1 over three rows."""
    slope = padded[:, :, 2:] - padded[:, :, :-2]
    return slope[:, :-2] + 2 * slope[:, 1:-1] + slope[:, 2:]
