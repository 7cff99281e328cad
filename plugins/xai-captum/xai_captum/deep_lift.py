"""DeepLIFT."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import GradientAttribution, ImageBlock
from xai_captum.executed_modules import class_names, executed_modules
from xai_captum.global_state import without_warnings
from xai_core.plugin import Baseline, SharedModel, UnsuitableError, check_number, require_plain_modules


class DeepLift(GradientAttribution):
    """DeepLIFT with the rescale rule: the difference from a baseline, propagated through each activation.

    At an activation, the multiplier is the difference of its outputs divided by the difference of its inputs (eq. 12).
    It replaces the gradient, which all other operations use. In a network of linear maps and such activations, the
    attribution sums to y(x) - y(x').

    Source: Shrikumar, Greenside and Kundaje, "Learning Important Features Through Propagating Activation Differences",
    ICML 2017.

    Parameters
    ----------
    eps
        Threshold of the input difference. Below it, the gradient is used instead of the multiplier.
    baselines
        Baseline: `zero`, `mean`, `blur`, `min`, `max`, `noise`, or a tensor. See `xai_core.plugin.baseline_images`.
    channels
        How the channels are reduced: `sum`, `positive`, `abs`, `max` or `norm`. See
        `xai_core.plugin.reduce_channels`.
    """

    name = "deep-lift"
    variants = 2  # the image and its baseline go through the model together

    def __init__(self, eps: float = 1e-10, baselines: Baseline = "zero", channels: str = "positive") -> None:
        super().__init__(channels)
        self.eps = check_number("eps", eps, above=0)
        self.baselines = baselines

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Require an activation for which captum has a rule, and activations that run once. Request nothing."""
        from captum.attr._core.deep_lift import SUPPORTED_NON_LINEAR

        require_plain_modules(adapter.model, self.name, "integrated-gradients")
        activations = {
            name: module for name, module in executed_modules(adapter).items() if type(module) in SUPPORTED_NON_LINEAR
        }
        if not activations:
            raise UnsuitableError(
                "deep-lift has rules for nn.ReLU, ELU, LeakyReLU, Sigmoid, Tanh, Softplus, Softmax and MaxPool. This "
                "model has none of these modules, so the result would be the gradient times the difference from the "
                "baseline. Use integrated-gradients"
            )
        repeated = [module for name, module in activations.items() if adapter.probe.runs[name] > 1]
        if repeated:
            raise UnsuitableError(
                f"deep-lift requires a separate module for each activation, and this model runs the same "
                f"{class_names(repeated)} several times; use integrated-gradients"
            )
        return xai.Needs()

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count one each for the image, its baseline and the shared pass."""
        return 3

    def attribute(self, model: SharedModel, block: ImageBlock, adapter: xai.ModelAdapter) -> Float[Tensor, "N C *size"]:
        """Compare the images with their baselines."""
        from captum import attr

        method = attr.DeepLift(model, eps=self.eps)
        attribute = without_warnings(attr.DeepLift.attribute)
        return attribute(method, block.images, block.baselines, additional_forward_args=(block.indices,))
