"""Important direction gradient integration."""

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import GradientAttribution, ImageBlock
from xai_captum.path_gradients import gradients_along
from xai_core.plugin import Baseline, SharedModel, check_integer


class IDGI(GradientAttribution):
    """IDGI: each change of the score along a path, divided among the pixels by their squared gradients.

        sum_j (y(x_j+1) - y(x_j)) g_j^2 / sum(g_j^2),    g_j = dy/dx(x_j),    x_j = x' + j/n (x - x')

    To first order, only the component of a step along the gradient changes the score. Integrated gradients also
    attribute to the other components. The attribution sums to y(x) - y(x') for any number of steps, except for the
    changes in steps whose gradient is zero.

    Source: Yang, Wang and Bilgic, "IDGI: A Framework to Eliminate Explanation Noise from Integrated Gradients", CVPR
    2023.

    Parameters
    ----------
    n_steps
        Number n of steps.
    baselines
        Start x' of the line: `zero`, `mean`, `blur`, `min`, `max`, `noise`, or a tensor. See
        `xai_core.plugin.baseline_images`.
    channels
        How the channels are reduced: `sum`, `positive`, `abs`, `max` or `norm`. See
        `xai_core.plugin.reduce_channels`.
    """

    name = "idgi"

    def __init__(self, n_steps: int = 50, baselines: Baseline = "zero", channels: str = "positive") -> None:
        super().__init__(channels)
        self.n_steps = check_integer("n_steps", n_steps, 1)
        self.baselines = baselines

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count one for each of the n + 1 points, and one for the shared pass."""
        return 2 + self.n_steps

    def attribute(self, model: SharedModel, block: ImageBlock, adapter: xai.ModelAdapter) -> Float[Tensor, "N C *size"]:
        """Divide the change of the score from each point to the next."""
        images = block.images.detach()

        def line(positions: Float[Tensor, " S"]) -> Float[Tensor, "S N C *size"]:
            return torch.lerp(block.baselines, images, positions.view(-1, *[1] * images.ndim))

        positions = torch.linspace(0, 1, self.n_steps + 1, dtype=images.dtype, device=images.device)
        total = torch.zeros_like(images)
        for _, scores, gradients in gradients_along(line, positions, model, block.indices):
            changes = scores.diff(dim=0).view(-1, len(images), *[1] * (images.ndim - 1))
            total += (changes * squared_shares(gradients[:-1])).sum(0)
        return total


def squared_shares(gradients: Float[Tensor, "S N C *size"]) -> Float[Tensor, "S N C *size"]:
    """Return the share of each value in the sum of squares of an image, or zeros if all values are zero."""
    dims = tuple(range(2, gradients.ndim))
    largest = gradients.abs().amax(dims, keepdim=True)
    squares = (gradients / largest.where(largest > 0, 1)).square()  # at most 1, so that no square underflows
    return squares / squares.sum(dims, keepdim=True).clamp(min=1)
