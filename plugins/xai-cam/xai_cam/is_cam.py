"""IS-CAM."""

from jaxtyping import Float
from torch import Tensor

from xai_cam.base import Layers
from xai_cam.score_cam import ScoreCAM
from xai_core.plugin import OptionError


class ISCAM(ScoreCAM):
    """IS-CAM: Score-CAM whose weights are integrated as the mask grows.

    alpha_k = 1/n sum_{i=1..n} f(x * H_k * i/n). torchcam's masks are sums of those of the steps before, and go
    beyond H_k.

    Source: Naidu et al., "IS-CAM: Integrated Score-CAM for axiomatic-based explanations", 2020.

    Parameters
    ----------
    layer, score, channel_softmax
        As for Score-CAM.
    n
        Number of steps.
    """

    name = "is-cam"

    def __init__(
        self, layer: Layers = None, score: str = "probability", channel_softmax: bool = False, n: int = 10
    ) -> None:
        if n < 1:
            raise OptionError(f"n must be at least 1, got {n}")
        super().__init__(layer, score, channel_softmax)
        self.n = n

    def masked(
        self, images: Float[Tensor, "n C H W"], maps: Float[Tensor, "n h w"], sample: int
    ) -> Float[Tensor, "n C H W"]:
        """Show each image through a part of a channel of its own."""
        return super().masked(images, maps, sample) * ((sample + 1) / self.n)
