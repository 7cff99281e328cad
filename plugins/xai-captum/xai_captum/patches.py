"""What methods that mask square patches share."""

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import Part, Perturbed, Scored
from xai_captum.options import positive
from xai_core.plugin import Baseline

SHARE = 7
"""Into how many patches the shorter side is divided, where no size is given."""


class Patches(Perturbed):
    """An attribution to square patches, each of which shows the image or its baseline.

    The patches begin at the upper left corner; those at the other ends may be smaller.

    Parameters
    ----------
    patch
        The side of a patch, in pixels; default: a seventh of the image's shorter side.
    baselines
        What a patch shows instead: `zero`, `mean`, `blur`, `noise`, or a tensor, see `xai_core.plugin.baseline_images`.
    channels
        What is made of the number of each patch, which is of all channels together: `sum` leaves its sign, `positive`
        what is for the target, and `abs`, `max` and `norm` its magnitude.
    """

    expected_failures: ClassVar[Mapping[str, str]] = {
        "avoids_host_transfers": "captum counts features and draws sets on the host"
    }

    def __init__(self, patch: int | None = None, baselines: Baseline = "zero", channels: str = "positive") -> None:
        super().__init__(channels)
        positive(patch=patch)
        self.patch = patch
        self.baselines = baselines

    def count(self, adapter: xai.ModelAdapter) -> int:
        """How many patches there are."""
        side = self.side(adapter.probe.size)
        return math.prod(math.ceil(length / side) for length in adapter.probe.size)

    def side(self, size: tuple[int, int]) -> int:
        """The side of a patch of an image of (H, W)."""
        return self.patch or max(1, min(size) // SHARE)

    def ablated(
        self, method: Callable[[Any], Any], model: Scored, part: Part, **options: Any
    ) -> Float[Tensor, "1 1 H W"]:
        """Let a method of captum's mask the patches of an image, as many at once as a block holds.

        It gives a patch the same number in each channel, which is that of all channels together.
        """
        height, width = part.images.shape[-2:]
        attribution: Tensor = method(model).attribute(
            part.images.detach(),
            part.baselines,
            additional_forward_args=(part.of,),
            feature_mask=patches((height, width), self.side((height, width))).to(part.images.device),
            perturbations_per_eval=model.block,
            **options,
        )
        return attribution[:, :1]


def patches(size: tuple[int, int], side: int) -> Int[Tensor, "1 1 H W"]:
    """The number of each pixel's patch, row by row."""
    rows, columns = (torch.arange(length) // side for length in size)
    return (rows[:, None] * (columns[-1] + 1) + columns)[None, None]
