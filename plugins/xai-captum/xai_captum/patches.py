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
        Side of a patch in pixels. Default: a seventh of the image's shorter side.
    baselines
        Replacement of masked patches: `zero`, `mean`, `blur`, `noise`, or a tensor. See
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
        side = self.side(adapter.probe.size)
        return math.prod(math.ceil(length / side) for length in adapter.probe.size)

    def side(self, size: tuple[int, int]) -> int:
        """Return the side of a patch, in pixels, for images of size (H, W)."""
        return self.patch or max(1, min(size) // DEFAULT_PATCHES)

    def ablated(
        self, method: Callable[[Any], Any], model: CaptumScorer, block: ImageBlock, **options: Any
    ) -> Float[Tensor, "1 1 H W"]:
        """Return the attribution of a method of captum that masks the patches of an image.

        captum masks as many patches in one forward pass as fit into a block. For each channel of a patch, captum
        returns the same number: the attribution of all channels together.
        """
        height, width = block.images.shape[-2:]
        attribution: Tensor = method(model).attribute(
            block.images.detach(),
            block.baselines,
            additional_forward_args=(block.indices,),
            feature_mask=patch_indices((height, width), self.side((height, width))).to(block.images.device),
            perturbations_per_eval=model.block,
            **options,
        )
        return attribution[:, :1]


def patch_indices(size: tuple[int, int], side: int) -> Int[Tensor, "1 1 H W"]:
    """Return the index of the patch of each pixel, counted row by row."""
    rows, columns = (torch.arange(length) // side for length in size)
    return (rows[:, None] * (columns[-1] + 1) + columns)[None, None]
