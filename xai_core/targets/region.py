"""Region: target for the pixels of a segmentation that belong to a class."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from xai_core.errors import TargetError
from xai_core.targets.measures import Logits, RegionMeasure, dense
from xai_core.targets.target import BoundTarget, Target, class_ids


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
        A class id, or one id per image.
    mask
        [h,w] or [B,h,w] at the output's size: booleans or non-negative weights. Default: the pixels to which the model
        assigns the class in the original image.
    """

    category: int | Sequence[int] | Tensor
    mask: Tensor | None = None

    def bind(self, output: Any, logits: Logits, batch: int) -> BoundTarget:
        """See `Target.bind`."""
        scores = dense(output).detach()
        classes, size = scores.shape[1], scores.shape[2:]
        ids = class_ids(self.category, scores, batch)
        if ids.ndim != 1:
            raise TargetError(f"a region has one class per image, got class ids of shape {list(ids.shape)}")
        valid = (ids >= 0) & (ids < classes)
        ids = ids.clamp(0, classes - 1)
        mask = scores.argmax(1) == ids[:, None, None] if self.mask is None else self.mask.to(scores.device)
        if mask.shape not in (size, (batch, *size)):
            raise TargetError(
                f"the mask of a region must have the output's size, {list(size)} or {[batch, *size]}; "
                f"got {list(mask.shape)}: resize it"
            )
        weights = mask.to(scores.dtype).expand(batch, *size)
        total = weights.sum((1, 2))
        weights = weights / total.where(total > 0, 1)[:, None, None]
        reason = (
            "without a region: the mask contains no pixel, or the class is not a class of this model (0 to "
            f"{classes - 1}); pass a mask with at least one pixel"
        )
        return BoundTarget(RegionMeasure(ids, weights), batch, valid & (total > 0), reason)
