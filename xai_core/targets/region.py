"""Why a region of a segmentation has its class."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from xai_core.errors import TargetError
from xai_core.outputs import scores_of
from xai_core.targets.target import BoundTarget, Logits, Target, at, class_ids, probabilities


@dataclass(frozen=True, eq=False)
class Region(Target):
    """Why pixels belong to a class: the mean over a region of the class's logits, or of its probabilities.

    For models whose output is, or whose first entry (`out` of torchvision) is, logits [B,K,h,w].

    Source: Vinogradova et al., "Towards Interpretable Semantic Segmentation via Gradient-weighted Class
    Activation Mapping", AAAI 2020, eq. 2 (which sums; the mean differs by a scale).

    Parameters
    ----------
    category
        A class id, or one per image.
    mask
        [h,w] or [B,h,w] at the output's size: booleans, or weights that are not negative; default: the pixels
        that the model gives to the class in the original image.
    """

    category: int | Sequence[int] | Tensor
    mask: Tensor | None = None

    def bind(self, output: Any, logits: Logits, batch: int) -> BoundTarget:
        """See `Target.bind`."""
        scores = dense(output).detach()
        classes, size = scores.shape[1], scores.shape[2:]
        ids = class_ids(self.category, scores, batch)
        if ids.ndim != 1:
            raise TargetError(f"a region has one class per image, got ids {list(ids.shape)}")
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

        def measure(output: Any, of: Tensor | None, kind: str) -> Tensor:
            scores = dense(output)
            scores = probabilities(scores) if kind == "probability" else scores
            rows = torch.arange(len(scores), device=scores.device)
            return (scores[rows, at(ids, of)] * at(weights, of)).sum((1, 2))

        reason = f"without a region: no pixel of the mask, or no class of this model (0 to {classes - 1}); give a mask"
        return BoundTarget(measure, batch, valid=valid & (total > 0), reason=reason)


def dense(output: Any) -> Float[Tensor, "B K h w"]:
    """The logits of each pixel in a segmentation model's output.

    Raises
    ------
    TargetError
        Where there are none.
    """
    tensor = scores_of(output)
    if tensor is None or tensor.ndim != 4:
        given = f"a tensor {list(tensor.shape)}" if tensor is not None else type(output).__name__
        raise TargetError(f"a region needs a segmentation model, whose output is logits [B,K,h,w]; got {given}")
    return tensor
