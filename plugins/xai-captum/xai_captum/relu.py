"""What methods that change the gradient of ReLU share."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

import xai_core as xai
from xai_captum.attribution import Differentiated, Part
from xai_captum.modules import ran
from xai_captum.process import unwarned
from xai_core.plugin import UnsuitableError


class ChangedReLU(Differentiated):
    """A gradient at the image that goes through ReLU in a way of its own.

    Parameters
    ----------
    channels
        How channels are reduced: see `xai_captum.channels.over_channels`.
    """

    def __init__(self, channels: str = "abs") -> None:
        super().__init__(channels)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Nothing of the pass, as long as captum has a ReLU to change."""
        if not any(isinstance(module, nn.ReLU) for module in ran(adapter).values()):
            raise UnsuitableError(
                f"{self.name} changes the gradient of ReLU modules (nn.ReLU), and this model has none, so that it "
                "would be the plain gradient; use saliency or smooth-grad"
            )
        return xai.Needs()

    def changed(self, method: Any, part: Part) -> Float[Tensor, "N C H W"]:
        """Go back from the score to the image, as captum's method does."""
        from captum.attr._core.guided_backprop_deconvnet import ModifiedReluGradientAttribution

        attribute = unwarned(ModifiedReluGradientAttribution.attribute)
        return attribute(method, part.images, additional_forward_args=(part.of,))

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """One, and the pass."""
        return 2
