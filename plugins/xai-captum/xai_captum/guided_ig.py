"""Guided integrated gradients."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import GradientAttribution, ImageBlock
from xai_captum.path_gradients import score_gradients
from xai_core.plugin import Baseline, SharedModel, check_integer, check_number


class GuidedIG(GradientAttribution):
    """Guided integrated gradients: an integral along a path that first changes the values with the smallest gradients.

        sum_k g_k (x_k+1 - x_k),    g_k = dy/dx(x_k),    x_k = x' + a_k (x - x')

    Each value of the image has its own position a in [0,1] on the path. In step k of n, the mean of the positions,
    weighted by |x - x'|, rises to t = k/n. Positions below t - d are raised to t - d. Then the values with the smallest
    |g| move, a fraction of all values at a time, until the mean is t. No position exceeds t + d. With d = 0, the
    attribution is that of integrated gradients.

    Source: Kapishnikov et al., "Guided Integrated Gradients: An Adaptive Path Method for Removing Noise", CVPR 2021.
    The bound d on the distance from the straight line follows the authors' code.

    Parameters
    ----------
    n_steps
        Number n of steps.
    fraction
        Fraction of the values that move at a time, in (0,1].
    max_dist
        Distance d, in [0,1].
    baselines
        Start x' of the path: `zero`, `mean`, `blur`, `min`, `max`, `noise`, or a tensor. See
        `xai_core.plugin.baseline_images`.
    channels
        How the channels are reduced: `sum`, `positive`, `abs`, `max` or `norm`. See
        `xai_core.plugin.reduce_channels`.
    """

    name = "guided-ig"

    def __init__(
        self,
        n_steps: int = 200,
        fraction: float = 0.25,
        max_dist: float = 0.02,
        baselines: Baseline = "zero",
        channels: str = "positive",
    ) -> None:
        super().__init__(channels)
        self.n_steps = check_integer("n_steps", n_steps, 1)
        self.fraction = check_number("fraction", fraction, above=0, maximum=1)
        self.max_dist = check_number("max_dist", max_dist, minimum=0, maximum=1)
        self.baselines = baselines

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count one for each step, and one for the shared pass."""
        return 1 + self.n_steps

    def attribute(self, model: SharedModel, block: ImageBlock, adapter: xai.ModelAdapter) -> Float[Tensor, "N C *size"]:
        """Follow the path of each image, one step after the other."""
        images, baselines = block.images.detach(), block.baselines
        change = (images - baselines).flatten(1)
        weights = change.abs() / change.abs().sum(1, keepdim=True).clamp(min=torch.finfo(change.dtype).tiny)
        positions, total = torch.zeros_like(change), torch.zeros_like(change)
        for step in range(1, self.n_steps + 1):
            points = torch.lerp(baselines, images, positions.view_as(images))
            gradients = score_gradients(model, points, block.indices)[1].flatten(1)
            after = self.advanced(positions, gradients.abs(), weights, step / self.n_steps)
            total += gradients * (after - positions) * change
            positions = after
        return total.view_as(images)

    def advanced(
        self, positions: Float[Tensor, "N P"], sizes: Float[Tensor, "N P"], weights: Float[Tensor, "N P"], mean: float
    ) -> Float[Tensor, "N P"]:
        """Return the positions after a step that raises their weighted mean."""
        low, high = max(mean - self.max_dist, 0), min(mean + self.max_dist, 1)
        positions = positions.clamp(min=low)
        count = 1 + int(self.fraction * (positions.shape[1] - 1))
        for _ in range(0, positions.shape[1], count):
            movable = (positions < high) & (weights > 0)
            reach = (high - positions) * smallest(sizes, movable, count)
            missing = mean - (weights * positions).sum(1, keepdim=True)
            share = (missing / (weights * reach).sum(1, keepdim=True)).nan_to_num(0).clamp(0, 1)
            positions = torch.where((share == 1) & (reach > 0), high, positions + share * reach)
        return positions


def smallest(sizes: Float[Tensor, "N P"], among: Bool[Tensor, "N P"], count: int) -> Bool[Tensor, "N P"]:
    """Return which values are among the `count` smallest, and those equal to the largest of these."""
    sizes = sizes.masked_fill(~among, torch.inf)
    return among & (sizes <= sizes.kthvalue(count, 1, keepdim=True).values)
