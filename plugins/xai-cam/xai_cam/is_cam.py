"""IS-CAM."""

from jaxtyping import Float
from torch import Tensor

from xai_cam.base import Layers
from xai_cam.score_cam import ScoreCAM
from xai_core.plugin import check_integer


class ISCAM(ScoreCAM):
    """IS-CAM: Score-CAM with weights averaged over masks of increasing strength.

        alpha_k = 1/n sum_{i=1..n} f(x * H_k * i/n)

    In torchcam, each mask is the sum of the masks of the previous steps, which exceeds H_k.

    Source: Naidu et al., "IS-CAM: Integrated Score-CAM for axiomatic-based explanations", 2020.

    Parameters
    ----------
    layer, score, channel_softmax
        See `ScoreCAM`.
    n
        Number of steps.
    """

    name = "is-cam"

    def __init__(
        self, layer: Layers = None, score: str = "probability", channel_softmax: bool = False, n: int = 10
    ) -> None:
        super().__init__(layer, score, channel_softmax)
        self.n = check_integer("n", n, 1)

    def masked(
        self, images: Float[Tensor, "n C *size"], maps: Float[Tensor, "n *grid"], sample: int
    ) -> Float[Tensor, "n C *size"]:
        """Mask each image by its map, scaled by the fraction of step `sample`."""
        return super().masked(images, maps, sample) * ((sample + 1) / self.n)
