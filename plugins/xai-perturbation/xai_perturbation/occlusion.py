"""Occlusion."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import (
    SCORE_KINDS,
    Baseline,
    OptionError,
    baseline_images,
    check_choice,
    check_integer,
    check_seed,
    masked_scores,
)

DEFAULT_PATCHES = 5
"""Number of patches of the default size that fit along a side of the image."""


class Occlusion(xai.Explainer):
    """Occlusion: the drop in the score when a sliding patch hides a part of the image, averaged over patches.

        L_ij = 1/n_ij sum_(p covers ij) f(x) - f(x without p)

    n_ij is the number of patches that cover pixel ij. Patches start at multiples of the stride, until they cover the
    image. The last patch of a row or column is cut off if it extends beyond the image.

    The paper shows the score at each position of a gray square. The default patch is a fifth of each side, with a
    stride of half a patch. At 224x224 pixels this is a patch of 45 pixels, a stride of 23 pixels and 81 patches.

    Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, section 4.2; the mean
    over patches as in captum's `Occlusion`.

    Parameters
    ----------
    size
        Side of the patch in pixels. Default: a fifth of each side of the image, rounded up.
    stride
        Stride of the patches in pixels, at most the size. Default: half of the size, rounded up.
    baseline
        Replacement of the hidden pixels: `zero`, `mean`, `blur`, `noise`, or a tensor that broadcasts to [B,C,H,W]. In
        the normalized space, `zero` is the mean color of the training data.
    score
        f: `probability` (softmax) or `logit`.
    seed
        Random seed of the noise.
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
        self.size = None if size is None else check_integer("size", size, 1)
        self.stride = None if stride is None else check_integer("stride", stride, 1)
        self.baseline = baseline
        self.score = check_choice("score", score, SCORE_KINDS)
        self.seed = check_seed(seed)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Require patches that cover the image. Request nothing."""
        for side in adapter.probe.size:
            self.starts(side)
        return xai.Needs()

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count one for each patch and one for the image."""
        return 2 + math.prod(len(self.starts(side)) for side in adapter.probe.size)

    def patch(self, side: int) -> int:
        """Return the length of the patch along a side of the image, in pixels."""
        return self.size or math.ceil(side / DEFAULT_PATCHES)

    def starts(self, side: int) -> range:
        """Return the first pixel of each patch along a side of the image.

        Raises
        ------
        OptionError
            If the patch is larger than the image, or the stride is larger than the patch.
        """
        size = self.patch(side)
        stride = self.stride or math.ceil(size / 2)
        if size > side or stride > size:
            raise OptionError(
                f"size must be at most the side of the image ({side} pixels), and stride must be at most size; got "
                f"size={size} and stride={stride}"
            )
        return range(0, side - size + stride, stride)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B H W"]:
        """Average the drops in the score over the patches that cover each pixel."""
        return captured.once(self, lambda: self.relevance(captured))[captured.index]

    def relevance(self, captured: xai.Captured) -> Float[Tensor, "V B H W"]:
        """Return the maps for all V targets of the pass, which share the occluded images."""
        images, model_score = captured.images, captured.model_score
        score = model_score.each(images, kind=self.score)[..., None]  # [V,B,1]
        rows, columns = (self.coverage(side, score) for side in images.shape[-2:])
        indices = torch.arange(len(rows) * len(columns), device=images.device)

        def patches(block: slice) -> Float[Tensor, "n H W"]:
            row, column = indices[block] // len(columns), indices[block] % len(columns)
            return rows[row, :, None] * columns[column, None, :]

        baseline = baseline_images(self.baseline, images, self.seed)
        drops = score.new_zeros(*score.shape[:2], *images.shape[-2:])
        for masks, scores in masked_scores(model_score, images, baseline, patches, len(indices), self.score):
            drops += torch.tensordot(score - scores, masks, 1)
        return drops / torch.outer(rows.sum(0), columns.sum(0))

    def coverage(self, side: int, like: Float[Tensor, "..."]) -> Float[Tensor, "positions side"]:
        """Return, for each patch position along a side, 1 at the pixels that the patch covers and 0 elsewhere."""
        pixels = torch.arange(side, device=like.device)
        starts = self.starts(side)
        from_start = pixels - torch.arange(starts.start, starts.stop, starts.step, device=like.device)[:, None]
        return ((from_start >= 0) & (from_start < self.patch(side))).to(like.dtype)
