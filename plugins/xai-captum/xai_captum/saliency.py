"""The gradient at the image."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.channels import checked, over_channels


class Saliency(xai.Explainer):
    """The gradient of the score at the image, |dy/dx|.

    Computed in the pass that all methods share; captum's `Saliency` gives the same. The paper takes the largest
    magnitude over channels, `max`.

    Source: Simonyan, Vedaldi and Zisserman, "Deep Inside Convolutional Networks", ICLR workshop 2014, section 3.1.

    Parameters
    ----------
    channels
        How channels are reduced: see `xai_captum.channels.over_channels`.
    """

    name = "saliency"

    def __init__(self, channels: str = "abs") -> None:
        self.channels = checked(channels)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """The gradient at the image."""
        return xai.Needs(image_gradient=True)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B H W"]:
        """Reduce channels."""
        return over_channels(captured.image_gradient, self.channels)
