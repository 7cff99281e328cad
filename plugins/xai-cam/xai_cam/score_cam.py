"""Score-CAM."""

from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import CAM, Layers, spatial_dims, weighted
from xai_core.plugin import SCORE_KINDS, check_choice, check_flag, resize


class ScoreCAM(CAM):
    """Score-CAM: activations weighted by the score of the image masked by them.

        H_k = minmax(up(A_k)),    alpha_k = f(x * H_k),    L = ReLU(sum_k alpha_k A_k)

    H_k masks the normalized image x, and f is the target's score. Constant channels have no H_k, and their weight is
    zero.

    The paper defines alpha in two ways. The default is the definition in the authors' code: the softmax probability,
    without a baseline and without a softmax over channels. `score="logit", channel_softmax=True` is Algorithm 1 of the
    paper. Its baseline has no effect on the softmax.

    Source: Wang et al., "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks", CVPR
    Workshops 2020.

    Parameters
    ----------
    layer
        Module name, module, or a list of them. Default: the last features before pooling, which the adapter finds.
    score
        `probability` (softmax) or `logit`.
    channel_softmax
        Whether to normalize the weights by a softmax over the channels that are not constant.
    """

    name = "score-cam"
    gradients: ClassVar[bool] = False
    n: int = 1
    """Number of masked images per channel. The weight of the channel is the mean of their scores."""

    def __init__(self, layer: Layers = None, score: str = "probability", channel_softmax: bool = False) -> None:
        super().__init__(layer)
        self.score = check_choice("score", score, SCORE_KINDS)
        self.channel_softmax = check_flag("channel_softmax", channel_softmax)

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count one for each channel and sample."""
        return 1 + self.n * sum(adapter.features(layer).channels for layer in self.layers(adapter))

    def masked(
        self, images: Float[Tensor, "n C *size"], maps: Float[Tensor, "n *grid"], sample: int
    ) -> Float[Tensor, "n C *size"]:
        """Mask each image by its map, for one of the samples."""
        return images * minmax(upsampled(maps, images)).to(images)

    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K *grid"]:
        """Weight each channel by the score of the image masked by it, and constant channels by zero."""
        activation = captured.activation(layer)
        weights = captured.once((self, layer), lambda: self.weights(captured, activation))[captured.index]
        return weighted(weights, activation)

    def weights(self, captured: xai.Captured, activation: Float[Tensor, "B K *grid"]) -> Float[Tensor, "V B K"]:
        """Return the weight of each channel, for all V targets of the pass."""
        weights = self.scores(captured, activation).mean(0)
        constant = constant_channels(activation)
        if self.channel_softmax:
            weights = weights.masked_fill(constant, -torch.inf).softmax(2)
        return weights.masked_fill(constant, 0)

    def scores(self, captured: xai.Captured, activation: Float[Tensor, "B K *grid"]) -> Float[Tensor, "n V B K"]:
        """Return the scores of the n masked images of each channel. They are zero for most constant channels."""
        batch, count = activation.shape[:2]
        maps = activation.flatten(0, 1)  # [BK,h,w]
        constant = constant_channels(activation).flatten()
        order = constant.argsort(stable=True)  # constant maps come last
        scores = maps.new_zeros(self.n, captured.model_score.targets, len(maps))
        for block in captured.model_score.blocks(len(maps), (~constant).sum()):
            indices = order[block]
            image_indices = indices // count
            images = captured.images[image_indices]
            for i in range(self.n):
                masked = self.masked(images, maps[indices], i)
                scores[i][:, indices] = captured.model_score.each(masked, image_indices, self.score).to(scores.dtype)
        return scores.unflatten(2, (batch, count))


def constant_channels(activation: Float[Tensor, "B K *grid"]) -> Bool[Tensor, "B K"]:
    """Return which channels have the same value at all locations."""
    flat = activation.flatten(2)
    return flat.amax(2) == flat.amin(2)


def upsampled(maps: Float[Tensor, "n *grid"], images: Float[Tensor, "n C *size"]) -> Float[Tensor, "n 1 *size"]:
    """Resize maps to the images, bilinearly or trilinearly with `align_corners=False`."""
    return resize(maps, tuple(images.shape[2:]))[:, None]


def minmax(maps: Float[Tensor, "n 1 *size"]) -> Float[Tensor, "n 1 *size"]:
    """Min-max normalize each map to [0,1]. Constant maps become zero."""
    spatial = spatial_dims(maps)
    low, high = maps.amin(spatial, keepdim=True), maps.amax(spatial, keepdim=True)
    return (maps - low) / (high - low).where(high > low, 1)
