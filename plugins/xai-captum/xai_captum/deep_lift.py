"""DeepLIFT."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import Differentiated, Part
from xai_captum.modules import named, ran
from xai_captum.options import number
from xai_captum.process import unwarned
from xai_core.plugin import Baseline, SharedModel, UnsuitableError


class DeepLift(Differentiated):
    """DeepLIFT, by the rescale rule: how the difference from a baseline is passed on through each activation.

    At an activation the multiplier is the difference of its output over that of its input (eq. 12), in the place of
    the gradient; everything else passes its gradient. In a network of linear maps and such activations the attribution
    adds up to y(x) - y(x').

    Source: Shrikumar, Greenside and Kundaje, "Learning Important Features Through Propagating Activation Differences",
    ICML 2017.

    Parameters
    ----------
    eps
        Input differences below it have their gradient instead.
    baselines
        What to compare with: `zero`, `mean`, `blur`, `noise`, or a tensor, see `xai_core.plugin.baseline_images`.
    channels
        How channels are reduced: see `xai_captum.channels.over_channels`.
    """

    name = "deep-lift"
    at_least = 2  # the image and its baseline go through the model together

    def __init__(self, eps: float = 1e-10, baselines: Baseline = "zero", channels: str = "positive") -> None:
        super().__init__(channels)
        self.eps = number("eps", eps, above=0)
        self.baselines = baselines

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Nothing of the pass, as long as captum has a rule for the model's activations, and each runs once."""
        from captum.attr._core.deep_lift import SUPPORTED_NON_LINEAR

        ruled = {name: module for name, module in ran(adapter).items() if type(module) in SUPPORTED_NON_LINEAR}
        if not ruled:
            raise UnsuitableError(
                "deep-lift has rules for nn.ReLU, ELU, LeakyReLU, Sigmoid, Tanh, Softplus, Softmax and MaxPool, and "
                "this model has none, so that it would be the gradient times the difference; use integrated-gradients"
            )
        again = [module for name, module in ruled.items() if adapter.probe.runs[name] > 1]
        if again:
            raise UnsuitableError(
                f"deep-lift needs a module for each activation, and this model runs the same {named(again)} several "
                "times; use integrated-gradients"
            )
        return xai.Needs()

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """One for the image, one for its baseline, and the pass."""
        return 3

    def attribute(self, model: SharedModel, part: Part, adapter: xai.ModelAdapter) -> Float[Tensor, "N C H W"]:
        """Compare images with their baselines."""
        from captum import attr

        method = attr.DeepLift(model, eps=self.eps)
        attribute = unwarned(attr.DeepLift.attribute)
        return attribute(method, part.images, part.baselines, additional_forward_args=(part.of,))
