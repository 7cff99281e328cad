"""Input times gradient."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import CHANNELS, at_least_float32, check_choice, reduce_channels


class InputXGradient(xai.Explainer):
    """Input times gradient: the image multiplied by the gradient of the score at the image, x * dy/dx.

    It is computed in the shared pass, with the same result as captum's `InputXGradient`.

    Source: Shrikumar et al., "Not Just a Black Box", 2016, where it is a method for comparison.

    Parameters
    ----------
    channels
        How the channels are reduced: `sum`, `positive`, `abs`, `max` or `norm`. See
        `xai_core.plugin.reduce_channels`.
    """

    name = "input-x-gradient"
    volumes = True

    def __init__(self, channels: str = "positive") -> None:
        self.channels = check_choice("channels", channels, CHANNELS)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request the gradient at the image."""
        return xai.Needs(image_gradient=True)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B *size"]:
        """Multiply the image by its gradient and reduce the channels."""
        return reduce_channels(at_least_float32(captured.images) * captured.image_gradient, self.channels)
