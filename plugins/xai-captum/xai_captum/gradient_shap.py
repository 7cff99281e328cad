"""Gradient SHAP."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import GradientAttribution, ImageBlock
from xai_captum.baseline_sets import baseline_set
from xai_core.plugin import Baseline, SharedModel, check_integer, check_number, check_seed


class GradientShap(GradientAttribution):
    """Gradient SHAP: integrated gradients at random points of the path, which ends at a noisy image.

        1/n sum_i (x_i - x'_i) * dy/dx(x'_i + a_i (x_i - x'_i)),    x_i = x + N(0, s^2),    a_i uniform in [0,1]

    Each x'_i is drawn from a set of baselines. With images of the dataset as baselines and without noise, these are
    expected gradients.

    Source: Lundberg and Lee, "A Unified Approach to Interpreting Model Predictions", NeurIPS 2017; expected gradients:
    Erion et al., "Improving performance of deep learning models with axiomatic attribution priors", 2021.

    Parameters
    ----------
    n_samples
        Number of random points.
    stdevs
        Standard deviation of the noise, in units of the model's input.
    baselines
        Starts of the paths: names of baselines, joined by plus signs, or a tensor [S,C,H,W], such as images of the data
        set. See `xai_captum.baseline_sets.baseline_set`.
    seed
        Random seed of the noise and of the points, which are the same for every image.
    channels
        How the channels are reduced: `sum`, `positive`, `abs`, `max` or `norm`. See
        `xai_core.plugin.reduce_channels`.
    """

    name = "gradient-shap"
    expected_failures: ClassVar[Mapping[str, str]] = {"avoids_host_transfers": "captum draws the points on the host"}

    def __init__(
        self,
        n_samples: int = 50,
        stdevs: float = 0.1,
        baselines: Baseline = "zero",
        seed: int = 0,
        channels: str = "positive",
    ) -> None:
        super().__init__(channels)
        self.n_samples = check_integer("n_samples", n_samples, 1)
        self.stdevs = check_number("stdevs", stdevs, minimum=0)
        self.baselines = baselines
        self.seed = check_seed(seed)

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count one for each random point, and one for the shared pass."""
        return 1 + self.n_samples

    def baseline(self, images: Float[Tensor, "B C *size"]) -> Float[Tensor, "B C *size"]:
        """Return the images, because the start of each path is drawn from a set of baselines."""
        return images

    def attribute(self, model: SharedModel, block: ImageBlock, adapter: xai.ModelAdapter) -> Float[Tensor, "N C *size"]:
        """Average over the points in blocks, because captum would evaluate all points in one forward pass."""
        from captum import attr

        method, total = attr.GradientShap(model), torch.zeros_like(block.images)
        baselines = torch.cat(baseline_set(self.baselines, block.images.detach()))
        for start in range(0, self.n_samples, model.block):
            count = min(model.block, self.n_samples - start)
            total += count * method.attribute(
                block.images.detach(),
                baselines,
                n_samples=count,
                stdevs=float(self.stdevs),
                additional_forward_args=(block.indices,),
            )
        return total / self.n_samples
