"""Occlusion."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Baseline, OptionError, check_integer
from xai_perturbation.masking import MaskScoring

DEFAULT_PATCHES = 5
"""Number of patches of the default size that fit along a side of the image."""


class Occlusion(MaskScoring):
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
        Side of the patch in pixels. Default: a fifth of each side of the image, rounded up. For volumes, the depth of
        the patch is at most the depth of the volume.
    stride
        Stride of the patches in pixels, at most the size. Default: half of the size, rounded up. Along the depth
        of volumes, the stride is at most the depth of the patch.
    baseline, score, seed
        See `MaskScoring`.
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
        super().__init__(score, baseline, seed)
        self.size = None if size is None else check_integer("size", size, 1)
        self.stride = None if stride is None else check_integer("stride", stride, 1)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Require patches that cover the image. Request nothing."""
        self.starts(adapter.probe.size)
        return super().needs(adapter)

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count one for each patch and one for the image."""
        return 2 + math.prod(map(len, self.starts(adapter.probe.size)))

    def patch(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Return the size of the patch in pixels, for images of size (H, W) or volumes of size (D, H, W)."""
        *depth, height, width = (self.size or math.ceil(side / DEFAULT_PATCHES) for side in size)
        return *(min(slices, size[0]) for slices in depth), height, width

    def starts(self, size: tuple[int, ...]) -> list[range]:
        """Return the first pixel of each patch along each side of the image.

        Raises
        ------
        OptionError
            If the patch is larger than the image, or the stride is larger than the patch.
        """
        starts = []
        for axis, (side, patch) in enumerate(zip(size, self.patch(size), strict=True)):
            is_depth = axis < len(size) - 2
            stride = self.stride or math.ceil(patch / 2)
            stride = min(stride, patch) if is_depth else stride
            if patch > side or stride > patch:
                raise OptionError(
                    f"size must be at most the side of the image ({side} pixels), and stride must be at most size; got "
                    f"size={patch} and stride={stride}"
                )
            starts.append(range(0, side - patch + stride, stride))
        return starts

    def relevance(self, captured: xai.Captured) -> Float[Tensor, "V B *size"]:
        """Average the drops in the score over the patches that cover each pixel."""
        images = captured.images
        size = tuple(images.shape[2:])
        score = captured.model_score.each(images, kind=self.score)[..., None]  # [V,B,1]
        coverages = self.coverages(size, score)
        indices = torch.arange(math.prod(map(len, coverages)), device=images.device)

        def outside(block: slice) -> Float[Tensor, "n *size"]:
            positions = torch.unravel_index(indices[block], tuple(map(len, coverages)))
            return 1 - outer([coverage[position] for coverage, position in zip(coverages, positions, strict=True)])

        drops = score.new_zeros(*score.shape[:2], *size)
        for masks, scores in self.scores(captured, outside, len(indices)):
            drops += torch.tensordot(score - scores, 1 - masks, 1)
        return drops / outer([coverage.sum(0)[None] for coverage in coverages])

    def coverages(self, size: tuple[int, ...], like: Float[Tensor, "..."]) -> list[Float[Tensor, "positions side"]]:
        """Return, for each side and each position, 1 at the pixels that the patch covers and 0 elsewhere."""
        return [
            coverage(side, patch, starts, like)
            for side, patch, starts in zip(size, self.patch(size), self.starts(size), strict=True)
        ]


def coverage(side: int, patch: int, starts: range, like: Float[Tensor, "..."]) -> Float[Tensor, "positions side"]:
    """Return, for each position along a side, 1 at the pixels that the patch covers and 0 elsewhere."""
    pixels = torch.arange(side, device=like.device)
    from_start = pixels - torch.arange(starts.start, starts.stop, starts.step, device=like.device)[:, None]
    return ((from_start >= 0) & (from_start < patch)).to(like.dtype)


def outer(lines: Sequence[Float[Tensor, "n _"]]) -> Float[Tensor, "n *size"]:
    """Return the outer products of n lines along each side."""
    product = lines[0]
    for line in lines[1:]:
        product = product[..., None] * line.view(len(line), *[1] * (product.ndim - 1), -1)
    return product
