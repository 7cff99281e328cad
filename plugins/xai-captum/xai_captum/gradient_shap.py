"""Gradient SHAP."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import Differentiated, Part
from xai_captum.options import number, positive, seed_of
from xai_core.plugin import Baseline, SharedModel


class GradientShap(Differentiated):
    """Gradient SHAP: integrated gradients at random places of the path, from a noisy image.

    1/n sum_i (x_i - x') * dy/dx(x' + a_i (x_i - x')), with x_i = x + N(0, s^2) and a_i uniform in [0,1].

    Source: Lundberg and Lee, "A Unified Approach to Interpreting Model Predictions", NeurIPS 2017; expected gradients:
    Erion et al., "Improving performance of deep learning models with axiomatic attribution priors", 2021.

    Parameters
    ----------
    n_samples
        Number of random places.
    stdevs
        Standard deviation of the noise, in units of the image as the model takes it.
    baselines
        Where the path begins: `zero`, `mean`, `blur`, `noise`, or a tensor, see `xai_core.plugin.baseline_images`.
    seed
        Seed of the noise and the places, which are the same for every image.
    channels
        How channels are reduced.
    """

    name = "gradient-shap"
    expected_failures: ClassVar[Mapping[str, str]] = {"avoids_host_transfers": "captum draws the places on the host"}

    def __init__(
        self,
        n_samples: int = 50,
        stdevs: float = 0.1,
        baselines: Baseline = "zero",
        seed: int = 0,
        channels: str = "positive",
    ) -> None:
        super().__init__(channels)
        positive(n_samples=n_samples)
        self.n_samples = n_samples
        self.stdevs = number("stdevs", stdevs, least=0)
        self.baselines = baselines
        self.seed = seed_of(seed)

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """One for each random place, and the pass."""
        return 1 + self.n_samples

    def attribute(self, model: SharedModel, part: Part, adapter: xai.ModelAdapter) -> Float[Tensor, "N C H W"]:
        """Average over the places, in blocks: captum itself takes all of them at once."""
        from captum import attr

        method, total = attr.GradientShap(model), torch.zeros_like(part.images)
        for start in range(0, self.n_samples, model.block):
            some = min(model.block, self.n_samples - start)
            total += some * method.attribute(
                part.images.detach(),
                part.baselines,
                n_samples=some,
                stdevs=float(self.stdevs),
                additional_forward_args=(part.of,),
            )
        return total / self.n_samples
