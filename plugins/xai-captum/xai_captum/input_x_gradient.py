"""Input times gradient."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.channels import checked, over_channels
from xai_core.plugin import wide


class InputXGradient(xai.Explainer):
    """The image times the gradient of the score at it, x * dy/dx.

    Computed in the pass that all methods share; captum's `InputXGradient` gives the same.

    Source: Shrikumar et al., "Not Just a Black Box", 2016, where it is the method to compare with.

    Parameters
    ----------
    channels
        How channels are reduced: see `xai_captum.channels.over_channels`.
    """

    name = "input-x-gradient"

    def __init__(self, channels: str = "positive") -> None:
        self.channels = checked(channels)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """The gradient at the image."""
        return xai.Needs(image_gradient=True)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B H W"]:
        """Multiply, and reduce channels."""
        return over_channels(wide(captured.images) * captured.image_gradient, self.channels)
