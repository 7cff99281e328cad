"""SS-CAM."""

import torch
from jaxtyping import Float
from torch import Tensor

from xai_cam.base import Layers
from xai_cam.score_cam import ScoreCAM, minmax, upsampled
from xai_core.plugin import OptionError


class SSCAM(ScoreCAM):
    """SS-CAM: Score-CAM whose weights are means over noise.

    alpha_k = 1/n sum_i f(x * minmax(up(A_k) + d_i)) with noise on the activation, the paper's SS-CAM (1), or
    1/n sum_i f(x * H_k + d_i) with noise on the masked image, its SS-CAM (2); d_i ~ N(0, sigma^2).

    The noise d_i is one field for all channels and images, so that channels are compared under the same noise
    and an image's map does not depend on its batch. torchcam adds it to the normalized mask instead.

    Source: Wang et al., "SS-CAM: Smoothed Score-CAM for Sharper Visual Feature Localization", 2020.

    Parameters
    ----------
    layer, score, channel_softmax
        As for Score-CAM.
    n
        Number of noisy samples.
    sigma
        Standard deviation of the noise: in units of the activation, or of the normalized image.
    noise
        `activation` or `image`.
    seed
        Seed of the noise.
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
        if noise not in ("activation", "image"):
            raise OptionError(f"noise must be on the activation or the image, not {noise!r}")
        if n < 1:
            raise OptionError(f"n must be at least 1, got {n}")
        super().__init__(layer, score, channel_softmax)
        self.n = n
        self.sigma = sigma
        self.noise = noise
        self.seed = seed

    def masked(
        self, images: Float[Tensor, "n C H W"], maps: Float[Tensor, "n h w"], sample: int
    ) -> Float[Tensor, "n C H W"]:
        """Show each image through a channel of its own, under one noise."""
        if self.noise == "image":
            return super().masked(images, maps, sample) + self.sigma * field(images, self.seed + sample)
        large = upsampled(maps, images)
        return images * minmax(large + self.sigma * field(large, self.seed + sample)).to(images)


def field(like: Float[Tensor, "n C H W"], seed: int) -> Float[Tensor, "C H W"]:
    """Standard normal noise, the same for every item and on every device."""
    return torch.randn(like.shape[1:], generator=torch.Generator().manual_seed(seed)).to(like, non_blocking=True)
