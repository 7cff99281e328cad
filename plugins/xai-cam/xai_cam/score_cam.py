"""Score-CAM."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.errors import OptionError


class ScoreCAM(xai.Explainer):
    """Score-CAM: activations weighted by the score of the image seen through them.

    H_k = minmax(up(A_k)) masks the normalised image; alpha_k is the target's score for x * H_k;
    L = ReLU(sum_k alpha_k A_k). Channels that are flat have no H_k and are skipped.

    The paper gives two readings of alpha. The default is that of its authors' code: the softmax probability
    as it is, with no baseline and no softmax over channels. `score="logit", channel_softmax=True` is
    Algorithm 1 of the paper, whose baseline the softmax cancels.

    Source: Wang et al., "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks",
    CVPR Workshops 2020.

    Parameters
    ----------
    layer
        Module name or module; default: the last spatial features, which the adapter finds.
    score
        `probability` (softmax) or `logit`.
    channel_softmax
        Normalise the weights by a softmax over the channels that are not flat.
    """

    name = "score-cam"

    def __init__(
        self, layer: xai.Layer | None = None, score: str = "probability", channel_softmax: bool = False
    ) -> None:
        if score not in ("probability", "logit"):
            raise OptionError(f"score must be probability or logit, not {score!r}")
        self.layer = layer
        self.score = score
        self.channel_softmax = channel_softmax

    def needs(self, adapter: xai.ModelAdapter) -> xai.Capture:
        """One layer's activation; the masked images are scored afterwards."""
        return xai.Capture(activations=(adapter.default_layer if self.layer is None else self.layer,))

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B h w"]:
        """Score the image through each channel that is not flat, in blocks."""
        activation = captured.activation()  # [B,K,h,w]
        batch, channels = activation.shape[:2]
        maps = activation.flatten(0, 1)  # [BK,h,w]
        flat = maps.amax((1, 2)) == maps.amin((1, 2))
        order = flat.argsort(stable=True)
        size = (captured.images.shape[-2], captured.images.shape[-1])
        images, scores = captured.images, maps.new_zeros(len(maps))
        for part in captured.score.blocks(len(maps), (~flat).sum()):
            chosen = order[part]
            of = chosen // channels
            masked = images[of] * masks(maps[chosen], size).to(images)
            scores[chosen] = captured.score(masked, of, self.score).to(scores)
        weights = scores.view(batch, channels)
        flat = flat.view(batch, channels)
        if self.channel_softmax:
            weights = weights.masked_fill(flat, -torch.inf).softmax(1)
        weights = weights.masked_fill(flat, 0)
        return (weights[..., None, None] * activation).sum(1).relu()


def masks(maps: Float[Tensor, "n h w"], size: tuple[int, int]) -> Float[Tensor, "n 1 H W"]:
    """Upsample maps to the image and min-max normalise each."""
    upsampled = F.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)
    low, high = upsampled.amin((2, 3), keepdim=True), upsampled.amax((2, 3), keepdim=True)
    return (upsampled - low) / (high - low).where(high > low, 1)
