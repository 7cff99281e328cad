"""Base class of attribution methods that mask square patches."""

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import CaptumScorer, ImageBlock, PerturbationAttribution
from xai_core.plugin import Baseline, check_integer

DEFAULT_PATCHES = 7
"""Number of patches of the default size that fit along the shorter side of the image."""


class PatchAttribution(PerturbationAttribution):
    """An attribution to square patches, each of which shows the image or its baseline.

    The patches start at the upper left corner. The last patch of a row or column may be smaller.

    Parameters
    ----------
    patch
        Side of a patch in pixels. Default: a seventh of the image's shorter side. For volumes, the depth of a patch is
        at most the depth of the volume, and a seventh of it by default.
    baselines
        Replacement of masked patches: `zero`, `mean`, `blur`, `min`, `max`, `noise`, or a tensor. See
        `xai_core.plugin.baseline_images`.
    channels
        How the attribution of a patch, one number for all channels, is reduced. `sum` keeps its sign, `positive` keeps
        its positive part, and `abs`, `max` and `norm` keep its magnitude.
    """

    expected_failures: ClassVar[Mapping[str, str]] = {
        "avoids_host_transfers": "captum counts features and draws sets on the host"
    }

    def __init__(self, patch: int | None = None, baselines: Baseline = "zero", channels: str = "positive") -> None:
        super().__init__(channels)
        self.patch = None if patch is None else check_integer("patch", patch, 1)
        self.baselines = baselines

    def count(self, adapter: xai.ModelAdapter) -> int:
        """Return the number of patches."""
        size = adapter.probe.size
        return math.prod(map(ceil_divide, size, self.sides(size)))

    def sides(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Return the size of a patch, in pixels, for images of size (H, W) or volumes of size (D, H, W)."""
        return sides_of(size, self.patch, DEFAULT_PATCHES)

    def ablated(
        self, method: Callable[[Any], Any], model: CaptumScorer, block: ImageBlock, **options: Any
    ) -> Float[Tensor, "1 1 *size"]:
        """Return the attribution of a method of captum that masks the patches of an image.

        captum masks as many patches in one forward pass as fit into a block. For each channel of a patch, captum
        returns the same number: the attribution of all channels together.
        """
        size = tuple(block.images.shape[2:])
        attribution: Tensor = method(model).attribute(
            block.images.detach(),
            block.baselines,
            additional_forward_args=(block.indices,),
            feature_mask=patch_indices(size, self.sides(size)).to(block.images.device),
            perturbations_per_eval=model.block,
            **options,
        )
        return attribution[:, :1]


def sides_of(size: tuple[int, ...], side: int | None, parts: int) -> tuple[int, ...]:
    """Return the size of a patch or window, which has the same height and width.

    Parameters
    ----------
    size
        The (H, W) of images, or the (D, H, W) of volumes.
    side
        The side in pixels. The depth is at most the depth of the volume.
    parts
        If there is no `side`, the number of patches that fit along the shorter side and along the depth.
    """
    *depth, height, width = size
    across = side or max(1, min(height, width) // parts)
    return *(min(side or max(1, slices // parts), slices) for slices in depth), across, across


def ceil_divide(length: int, side: int) -> int:
    """Return the number of parts with this side that cover a length."""
    return math.ceil(length / side)


def patch_indices(size: tuple[int, ...], sides: tuple[int, ...]) -> Int[Tensor, "1 1 *size"]:
    """Return the index of the patch of each pixel, counted row by row."""
    indices = torch.zeros(size, dtype=torch.int64)
    for axis, (length, side) in enumerate(zip(size, sides, strict=True)):
        positions = torch.arange(length) // side
        indices = indices * (positions[-1] + 1) + positions.view(
            *(-1 if axis == other else 1 for other in range(len(size)))
        )
    return indices[None, None]
