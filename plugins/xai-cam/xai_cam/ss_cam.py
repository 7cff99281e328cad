"""SS-CAM."""

import torch
from jaxtyping import Float
from torch import Tensor

from xai_cam.base import Layers
from xai_cam.score_cam import ScoreCAM, minmax, upsampled
from xai_core.plugin import check_choice, check_integer, check_number, check_seed


class SSCAM(ScoreCAM):
    """SS-CAM: Score-CAM with weights averaged over noise.

        alpha_k = 1/n sum_i f(x * minmax(up(A_k) + d_i))    noise on the activation, the paper's SS-CAM (1)
        alpha_k = 1/n sum_i f(x * H_k + d_i)                noise on the masked image, the paper's SS-CAM (2)

    The noise d_i ~ N(0, sigma^2) is the same for all channels and images. Therefore, channels are compared under the
    same noise, and the map of an image does not depend on its batch. torchcam adds noise to the normalized mask
    instead.

    Source: Wang et al., "SS-CAM: Smoothed Score-CAM for Sharper Visual Feature Localization", 2020.

    Parameters
    ----------
    layer, score, channel_softmax
        See `ScoreCAM`.
    n
        Number of noisy samples.
    sigma
        Standard deviation of the noise, in units of the activation or of the normalized image.
    noise
        `activation` or `image`.
    seed
        Random seed of the noise.
    """

    name = "ss-cam"

    def __init__(
        self,
        layer: Layers = None,
        score: str = "probability",
        channel_softmax: bool = False,
        n: int = 10,
        sigma: float = 2.0,
        noise: str = "activation",
        seed: int = 0,
    ) -> None:
        super().__init__(layer, score, channel_softmax)
        self.n = check_integer("n", n, 1)
        self.sigma = check_number("sigma", sigma, minimum=0)
        self.noise = check_choice("noise", noise, ("activation", "image"))
        self.seed = check_seed(seed)

    def masked(
        self, images: Float[Tensor, "n C *size"], maps: Float[Tensor, "n *grid"], sample: int
    ) -> Float[Tensor, "n C *size"]:
        """Mask each image by its map, with the noise of one sample on the map or on the masked image."""
        if self.noise == "image":
            return super().masked(images, maps, sample) + self.sigma * normal_noise(images, self.seed + sample)
        large = upsampled(maps, images)
        return images * minmax(large + self.sigma * normal_noise(large, self.seed + sample)).to(images)


def normal_noise(like: Float[Tensor, "n C *size"], seed: int) -> Float[Tensor, "C H W"]:
    """Return standard normal noise, the same for every item and on every device."""
    return torch.randn(like.shape[1:], generator=torch.Generator().manual_seed(seed)).to(like, non_blocking=True)
