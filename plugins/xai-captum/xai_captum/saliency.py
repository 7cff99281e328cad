"""Gradient at the image."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import CHANNELS, check_choice, reduce_channels


class Saliency(xai.Explainer):
    """Saliency: the magnitude of the gradient of the score at the image, |dy/dx|.

    It is computed in the shared pass, with the same result as captum's `Saliency`. The paper takes the largest
    magnitude over channels, which is `channels="max"`.

    Source: Simonyan, Vedaldi and Zisserman, "Deep Inside Convolutional Networks", ICLR workshop 2014, section 3.1.

    Parameters
    ----------
    channels
        How the channels are reduced: `sum`, `positive`, `abs`, `max` or `norm`. See
        `xai_core.plugin.reduce_channels`.
    """

    name = "saliency"
    volumes = True

    def __init__(self, channels: str = "abs") -> None:
        self.channels = check_choice("channels", channels, CHANNELS)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request the gradient at the image."""
        return xai.Needs(image_gradient=True)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B *size"]:
        """Reduce the channels of the gradient."""
        return reduce_channels(captured.image_gradient, self.channels)
