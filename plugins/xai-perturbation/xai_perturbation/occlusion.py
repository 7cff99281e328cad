"""Occlusion."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Baseline, OptionError, baseline_images
from xai_perturbation.masked import masked_scores
from xai_perturbation.options import kind_of_score, seed_of, whole

SHARE = 5
"""How many patches of the default size lie side by side."""


class Occlusion(xai.Explainer):
    """Occlusion: how much the score falls where a patch that slides over the image hides it.

    L_ij = 1/n_ij sum_(p covers ij) f(x) - f(x without p), the mean over the n_ij patches that cover a pixel. Patches
    start at multiples of the stride, as far as it takes to cover the image; the last of a row or column may reach
    beyond it, where it is cut off.

    The paper shows the score itself at each position of a gray square. The default patch is a fifth of each side, in
    steps of half a patch: 45 and 23 pixels at 224x224, which makes 81 patches.

    Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, section 4.2; the mean
    over patches as in captum's `Occlusion`.

    Parameters
    ----------
    size
        Side of the patch in pixels; default: a fifth of the image's side, rounded up, for each side.
    stride
        Pixels between positions, at most the size; default: half of the size, rounded up.
    baseline
        What a patch shows: `zero` (the mean color of the training data, in the normalized space), `mean`, `blur`,
        `noise`, or a tensor that broadcasts to [B,C,H,W].
    score
        f: `probability` (softmax) or `logit`.
    seed
        Seed of noise.
    """

    name = "occlusion"

    def __init__(
        self,
        size: int | None = None,
        stride: int | None = None,
        baseline: Baseline = "zero",
        score: str = "probability",
        seed: int = 0,
    ) -> None:
        self.size = None if size is None else whole("size", size, 1)
        self.stride = None if stride is None else whole("stride", stride, 1)
        self.baseline = baseline
        self.score = kind_of_score(score)
        self.seed = seed_of(seed)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Nothing but scores."""
        for side in adapter.probe.size:
            self.starts(side)  # refuses patches that do not cover the image
        return xai.Needs()

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """One for each patch, and one for the image."""
        return 2 + math.prod(len(self.starts(side)) for side in adapter.probe.size)

    def patch(self, side: int) -> int:
        """How many pixels a patch takes of a side of the image."""
        return self.size or math.ceil(side / SHARE)

    def starts(self, side: int) -> range:
        """Where patches start along a side of the image: the last is the first to reach its end."""
        size = self.patch(side)
        stride = self.stride or math.ceil(size / 2)
        if size > side or stride > size:
            raise OptionError(
                f"occlusion with size={size} and stride={stride} does not suit a side of {side} pixels: the patch must "
                "fit into the image, and the stride be at most the size, or pixels between patches are never hidden"
            )
        return range(0, side - size + stride, stride)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B H W"]:
        """Average, at each pixel, what the patches over it take from the score."""
        return captured.once(self, lambda: self.relevance(captured))[captured.index]

    def relevance(self, captured: xai.Captured) -> Float[Tensor, "V B H W"]:
        """The maps for all targets of the pass, which share the occluded images."""
        images, score = captured.images, captured.model_score
        unhidden = score.each(images, kind=self.score)[..., None]  # [V,B,1]
        rows, columns = (self.lines(side, unhidden) for side in images.shape[-2:])
        numbers = torch.arange(len(rows) * len(columns), device=images.device)

        def patches(part: slice) -> Float[Tensor, "n H W"]:
            down, across = numbers[part] // len(columns), numbers[part] % len(columns)
            return rows[down, :, None] * columns[across, None, :]

        blank = baseline_images(self.baseline, images, self.seed)
        lost = unhidden.new_zeros(*unhidden.shape[:2], *images.shape[-2:])
        for some, scores in masked_scores(score, images, blank, patches, len(numbers), self.score):
            lost += torch.tensordot(unhidden - scores, some, 1)
        return lost / torch.outer(rows.sum(0), columns.sum(0))

    def lines(self, side: int, like: Float[Tensor, "..."]) -> Float[Tensor, "positions side"]:
        """1 where the patch of each position covers a side of the image, 0 elsewhere."""
        pixels = torch.arange(side, device=like.device)
        starts = self.starts(side)
        from_start = pixels - torch.arange(starts.start, starts.stop, starts.step, device=like.device)[:, None]
        return ((from_start >= 0) & (from_start < self.patch(side))).to(like.dtype)
