"""DeepLIFT-SHAP."""

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import ImageBlock
from xai_captum.baseline_sets import baseline_set
from xai_captum.deep_lift import DeepLift
from xai_core.plugin import Baseline, SharedModel


class DeepLiftShap(DeepLift):
    """DeepLIFT-SHAP: the mean of DeepLIFT over a set of baselines.

    In a network of linear maps and activations with a rule, the attribution sums to y(x) - E[y(x')]. It approximates
    the Shapley values of the pixels, if the set is a sample of the data.

    Source: Lundberg and Lee, "A Unified Approach to Interpreting Model Predictions", NeurIPS 2017, section 4.2.

    Parameters
    ----------
    baselines
        Names of baselines, joined by plus signs, or a tensor [S,C,H,W], such as images of the dataset. See
        `xai_captum.baseline_sets.baseline_set`.
    eps, channels
        See `DeepLift`.
    """

    name = "deep-lift-shap"

    def __init__(
        self, baselines: Baseline = "zero+mean+blur+noise", eps: float = 1e-10, channels: str = "positive"
    ) -> None:
        super().__init__(eps, baselines, channels)

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count two for each baseline, and one for the shared pass."""
        size = len(self.baselines) if isinstance(self.baselines, Tensor) else len(self.baselines.split("+"))
        return 1 + 2 * size

    def baseline(self, images: Float[Tensor, "B C *size"]) -> Float[Tensor, "B C *size"]:
        """Return the images, because each image is compared with a set of baselines."""
        return images

    def attribute(self, model: SharedModel, block: ImageBlock, adapter: xai.ModelAdapter) -> Float[Tensor, "N C *size"]:
        """Average over the baselines, one after the other."""
        baselines = baseline_set(self.baselines, block.images.detach())
        blocks = [ImageBlock(block.images, baseline, block.indices) for baseline in baselines]
        return torch.stack([super(DeepLiftShap, self).attribute(model, each, adapter) for each in blocks]).mean(0)
