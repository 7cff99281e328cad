"""Region: target for the pixels of a segmentation that belong to a class."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from xai_core.errors import TargetError
from xai_core.targets.measures import RegionMeasure, pixel_scores
from xai_core.targets.score_reader import ScoreReader
from xai_core.targets.selection import PIXEL_SCORES, read
from xai_core.targets.target import BoundTarget, Class, Target, class_ids, replace_names


@dataclass(frozen=True, eq=False)
class Region(Target):
    """Target for segmentation: the mean of a class's logits, or of its probabilities, over a region of pixels.

    The model's output must be logits [B,K,h,w], or a mapping or tuple that contains them, such as the `out` of
    torchvision's segmentation models.

    Source: Vinogradova et al., "Towards Interpretable Semantic Segmentation via Gradient-weighted Class Activation
    Mapping", AAAI 2020, eq. 2. The paper sums over the region, which differs from the mean by a factor.

    Parameters
    ----------
    category
        A class id or name, or one per image.
    mask
        [h,w] or [B,h,w] at the output's size: booleans or non-negative weights. Default: the pixels to which the model
        assigns the class in the original image.
    """

    category: Class | Sequence[Class] | Tensor
    mask: Tensor | None = None

    def with_ids(self, id_of: Callable[[str], int]) -> "Region":
        """See `Target.with_ids`."""
        return Region(replace_names(self.category, id_of), self.mask)

    def bind(self, output: Any, logits: ScoreReader, batch: int) -> BoundTarget:
        """See `Target.bind`."""
        path = pixel_scores(output, batch)
        are_probabilities = logits.are_probabilities(path)
        scores = read(output, path, batch, PIXEL_SCORES).detach()
        classes, size = scores.shape[1], scores.shape[2:]
        ids = class_ids(self.category, scores, batch)
        if ids.ndim != 1:
            raise TargetError(f"a region has one class per image, got class ids of shape {list(ids.shape)}")
        valid = (ids >= 0) & (ids < classes)
        ids = ids.clamp(0, classes - 1)
        mask = predicted(scores, ids, are_probabilities) if self.mask is None else self.mask.to(scores.device)
        if mask.shape not in (size, (batch, *size)):
            raise TargetError(
                f"the mask of a region must have the output's size, {list(size)} or {[batch, *size]}; "
                f"got {list(mask.shape)}: resize it"
            )
        weights = mask.to(torch.promote_types(scores.dtype, torch.float32)).expand(batch, *size)
        total = weights.sum((1, 2))
        weights = weights / total.where(total > 0, 1)[:, None, None]
        reason = (
            "regions without pixels: the mask contains no pixel, or the class is not a class of this model (0 to "
            f"{classes - 1}); pass a mask with at least one pixel"
        )
        return BoundTarget(RegionMeasure(ids, weights, path, are_probabilities), batch, valid & (total > 0), reason)


def predicted(
    scores: Float[Tensor, "B K h w"], ids: Int[Tensor, " B"], are_probabilities: bool
) -> Bool[Tensor, "B h w"]:
    """Return the pixels to which a model assigns a class of each image.

    If the model has a single score, these are the pixels with a probability above one half.
    """
    if scores.shape[1] == 1:
        return scores[:, 0] > (0.5 if are_probabilities else 0)
    return scores.argmax(1) == ids[:, None, None]
