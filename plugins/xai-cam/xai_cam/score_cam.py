"""Score-CAM."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import CAM, Layers
from xai_core.plugin import OptionError


class ScoreCAM(CAM):
    """Score-CAM: activations weighted by the score of the image seen through them.

    H_k = minmax(up(A_k)) masks the normalized image; alpha_k is the target's score for x * H_k;
    L = ReLU(sum_k alpha_k A_k). Channels that are flat have no H_k and are skipped.

    The paper gives two readings of alpha. The default is that of its authors' code: the softmax probability
    as it is, with no baseline and no softmax over channels. `score="logit", channel_softmax=True` is
    Algorithm 1 of the paper, whose baseline the softmax cancels.

    Source: Wang et al., "Score-CAM: MetricResult-Weighted Visual Explanations for Convolutional Neural Networks",
    CVPR Workshops 2020.

    Parameters
    ----------
    layer
        Module name or module, or a list of them; default: the last spatial features, which the adapter finds.
    score
        `probability` (softmax) or `logit`.
    channel_softmax
        Normalize the weights by a softmax over the channels that are not flat.
    """

    name = "score-cam"
    gradients: ClassVar[bool] = False
    n: int = 1
    """How many masked images a channel's weight is the mean over."""

    def __init__(self, layer: Layers = None, score: str = "probability", channel_softmax: bool = False) -> None:
        if score not in ("probability", "logit"):
            raise OptionError(f"score must be probability or logit, not {score!r}")
        super().__init__(layer)
        self.score = score
        self.channel_softmax = channel_softmax

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """One for each channel and sample."""
        return 1 + self.n * sum(adapter.features(layer).channels for layer in self.layers(adapter))

    def masked(
        self, images: Float[Tensor, "n C H W"], maps: Float[Tensor, "n h w"], sample: int
    ) -> Float[Tensor, "n C H W"]:
        """Show each image through a channel of its own, for one of the samples."""
        return images * minmax(upsampled(maps, images)).to(images)

    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K h w"]:
        """Weigh each channel by the score of the image seen through it; flat channels by zero."""
        activation = captured.activation(layer)
        weights = captured.once((self, layer), lambda: self.weights(captured, activation))[captured.index]
        return weights[..., None, None] * activation

    def weights(self, captured: xai.Captured, activation: Float[Tensor, "B K h w"]) -> Float[Tensor, "V B K"]:
        """Score the image through each channel that is not flat, in blocks, for all targets of the pass."""
        batch, count = activation.shape[:2]
        maps = activation.flatten(0, 1)  # [BK,h,w]
        flat = maps.amax((1, 2)) == maps.amin((1, 2))
        order = flat.argsort(stable=True)
        scores = maps.new_zeros(captured.model_score.targets, len(maps))
        for part in captured.model_score.blocks(len(maps), (~flat).sum()):
            chosen = order[part]
            of = chosen // count
            images = captured.images[of]
            each = [
                captured.model_score.each(self.masked(images, maps[chosen], i), of, self.score) for i in range(self.n)
            ]
            scores[:, chosen] = torch.stack(each).mean(0).to(scores)
        weights = scores.unflatten(1, (batch, count))
        flat = flat.view(batch, count)
        if self.channel_softmax:
            weights = weights.masked_fill(flat, -torch.inf).softmax(2)
        return weights.masked_fill(flat, 0)


def upsampled(maps: Float[Tensor, "n h w"], images: Float[Tensor, "n C H W"]) -> Float[Tensor, "n 1 H W"]:
    """Resize maps to the images, bilinearly with corners not aligned."""
    size = (images.shape[-2], images.shape[-1])
    return F.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)


def minmax(maps: Float[Tensor, "n 1 H W"]) -> Float[Tensor, "n 1 H W"]:
    """Min-max normalize each map."""
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    return (maps - low) / (high - low).where(high > low, 1)
