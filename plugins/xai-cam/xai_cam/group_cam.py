"""Group-CAM."""

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import Layers
from xai_cam.grad_cam import GradCAM
from xai_cam.percentiles import percentile
from xai_cam.score_cam import minmax, upsampled
from xai_core.plugin import SCORE_KINDS, check_choice, check_integer, check_number

BLUR_SIZE, BLUR_SIGMA = 51, 50.0


class GroupCAM(GradCAM):
    """Group-CAM: groups of Grad-CAM's channels as masks, weighted by the effect of showing what a mask selects.

        M_l = ReLU(sum of w_k A_k over the channels k of group l)
        M'_l = minmax(up(M_l where M_l exceeds its percentile, else 0))
        alpha_l = f(x * M'_l + b * (1 - M'_l)) - f(b),    L = ReLU(sum_l alpha_l M'_l)

    w_k is the mean gradient, as in `grad-cam`, and f is the target's score. b is the image, blurred by a Gaussian of 51
    pixels with a standard deviation of 50 pixels, with reflecting borders. The map has the size of the image.

    Source: Zhang et al., "Group-CAM: Group Score-Weighted Visual Explanations for Deep Convolutional Networks", 2021.

    Parameters
    ----------
    layer
        See `CAM`.
    groups
        Number of groups of adjacent channels. A group contains at least one channel.
    percentile
        Percentile of each M_l, in [0,100). Values up to it become zero.
    score
        f: `probability` (softmax) or `logit`.
    """

    name = "group-cam"

    def __init__(
        self, layer: Layers = None, groups: int = 32, percentile: float = 70, score: str = "probability"
    ) -> None:
        super().__init__(layer)
        self.groups = check_integer("groups", groups, 1)
        self.percentile = check_number("percentile", percentile, minimum=0, below=100)
        self.score = check_choice("score", score, SCORE_KINDS)

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count one for each group of each layer, and one for the blurred image."""
        return 2 + sum(min(self.groups, adapter.features(layer).channels) for layer in self.layers(adapter))

    def map(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B *size"]:
        """Sum the masks of the groups, weighted by their effects."""
        masks, model_score = self.masks(captured, layer), captured.model_score
        blurred = captured.once("blurred", lambda: blur(captured.images))
        shown_nothing = captured.once(("blurred", self.score), lambda: model_score.each(blurred, kind=self.score))
        baseline = shown_nothing[captured.index]
        total = masks.new_zeros(len(masks), *captured.images.shape[2:])
        numbers = torch.arange(len(masks), device=masks.device)
        for images, groups in model_score.tiles(masks.shape[1]):
            of = numbers[images].repeat_interleave(len(range(*groups.indices(masks.shape[1]))))
            originals = captured.images[of]
            shown = minmax(upsampled(masks[images, groups].flatten(0, 1), originals)).to(originals.dtype)
            effects = model_score(torch.lerp(blurred[of], originals, shown), of, self.score) - baseline[of]
            weights = effects.to(total.dtype).view(-1, *[1] * (total.ndim - 1))
            total.index_add_(0, of, weights * shown[:, 0].to(total.dtype))
        return total.relu()

    def masks(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B G *grid"]:
        """Return the positive part of the sum of each group, without the values up to the percentile."""
        groups = self.channels(captured, layer).chunk(self.groups, 1)
        masks = torch.stack([group.sum(1) for group in groups], 1).relu()
        return masks.where(masks > percentile(masks, self.percentile), 0)


def blur(images: Float[Tensor, "B C *size"]) -> Float[Tensor, "B C *size"]:
    """Blur images by a Gaussian along each side."""
    for axis in range(2, images.ndim):
        matrix = blur_matrix(images.shape[axis]).to(images, non_blocking=True)
        images = (images.movedim(axis, -1) @ matrix.mT).movedim(-1, axis)
    return images


def blur_matrix(side: int) -> Float[Tensor, "side side"]:
    """Return the weight of each pixel for each blurred pixel along a side, with reflecting borders."""
    offsets = torch.arange(BLUR_SIZE) - BLUR_SIZE // 2
    weights = (-0.5 * (offsets / BLUR_SIGMA).square()).softmax(0)
    period = max(2 * side - 2, 1)
    pixels = (torch.arange(side)[:, None] + offsets) % period
    pixels = torch.minimum(pixels, period - pixels) if side > 1 else pixels
    return torch.zeros(side, side).scatter_add_(1, pixels, weights.expand(side, -1))
