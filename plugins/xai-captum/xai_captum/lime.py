"""LIME."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import CaptumScorer, ImageBlock, PerturbationAttribution
from xai_core.plugin import Baseline, check_integer, check_number, check_seed, superpixels


class Lime(PerturbationAttribution):
    """LIME: the weights of a linear model of the score, whose inputs are the visible superpixels.

        min_w sum_z pi(z) (f(x_z) - w^T z - w_0)^2 + alpha |w|^2    (eq. 1, with a linear model)
        pi(z) = exp(-D(z)^2 / (2 s^2)),    D(z) = 1 - cos(z, 1)

    z tells for each superpixel whether it is visible, with probability 1/2. In x_z, hidden superpixels show the
    baseline. pi is larger for images that show more of the original image. D is the cosine distance of z from the whole
    image. This distance, s = 0.25 and ridge regression with alpha = 1 are those of the authors' code. The paper uses
    the Euclidean distance and selects few features instead.

    The superpixels are computed by SLIC, from the image rescaled to [0,1] and smoothed by a Gaussian of one pixel. The
    authors' code uses quickshift.

    Source: Ribeiro, Singh and Guestrin, "Why Should I Trust You? Explaining the Predictions of Any Classifier", KDD
    2016, section 3.

    Parameters
    ----------
    n_samples
        Number of sets of visible superpixels.
    segments
        Approximate number of superpixels.
    kernel_width
        Width s of the kernel pi.
    alpha
        Strength of the ridge regression.
    baselines
        Replacement of hidden superpixels: `zero`, `mean`, `blur`, `min`, `max`, `noise`, or a tensor. See
        `xai_core.plugin.baseline_images`.
    seed
        Random seed of the sets, which are the same for images with the same number of superpixels.
    channels
        How the weight of a superpixel, one number for all channels, is reduced. `sum` keeps its sign, `positive` keeps
        its positive part, and `abs`, `max` and `norm` keep its magnitude.
    """

    name = "lime"
    expected_failures: ClassVar[Mapping[str, str]] = {
        "avoids_host_transfers": "the superpixels and the linear model are computed on the host",
        "supports_bfloat16": "the superpixels of rounded noise are different",
    }

    def __init__(
        self,
        n_samples: int = 1000,
        segments: int = 50,
        kernel_width: float = 0.25,
        alpha: float = 1.0,
        baselines: Baseline = "zero",
        seed: int = 0,
        channels: str = "positive",
    ) -> None:
        super().__init__(channels)
        self.n_samples = check_integer("n_samples", n_samples, 1)
        self.segments = check_integer("segments", segments, 2)
        self.kernel_width = check_number("kernel_width", kernel_width, above=0)
        self.alpha = check_number("alpha", alpha, minimum=0)
        self.baselines = baselines
        self.seed = check_seed(seed)

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count one for each set, and one for the shared pass."""
        return 1 + self.n_samples

    def attribute(
        self, model: CaptumScorer, block: ImageBlock, adapter: xai.ModelAdapter
    ) -> Float[Tensor, "1 1 *size"]:
        """Fit the linear model of one image."""
        from captum import attr
        from captum._utils.models.linear_model import SkLearnRidge

        def closeness(_: Any, __: Any, visible: Int[Tensor, "1 segments"], **___: Any) -> Float[Tensor, " 1"]:
            distance = 1 - visible.float().mean(1).sqrt()  # cos(z, 1) is the square root of the share of ones
            return torch.exp(-((distance / self.kernel_width) ** 2) / 2)

        image = block.images.detach()
        low, high = image.amin(), image.amax()
        in_unit_range = (image - low) / (high - low).where(high > low, 1)
        method = attr.Lime(model, SkLearnRidge(alpha=float(self.alpha)), closeness)
        attribution: Tensor = method.attribute(
            image,
            block.baselines,
            additional_forward_args=(block.indices,),
            feature_mask=superpixels(in_unit_range, self.segments, sigma=1)[:, None],
            n_samples=self.n_samples,
            perturbations_per_eval=model.block,
        )
        return attribution[:, :1]
