"""Region: target for the pixels of a segmentation that belong to a class."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from xai_core.errors import TargetError
from xai_core.targets.measures import RegionMeasure
from xai_core.targets.pixel_scores import pixel_reader
from xai_core.targets.score_reader import ScoreReader
from xai_core.targets.target import BoundTarget, Class, Target, class_ids, replace_names


@dataclass(frozen=True, eq=False)
class Region(Target):
    """Target for segmentation: the mean of a class's logits, or of its probabilities, over a region of pixels.

    The model's output contains one of these, where B is the number of images:

    - logits [B,K,h,w], such as the `out` of torchvision's segmentation models, or [B,K,d,h,w] for volumes. In a list of
      several such tensors, as deep supervision returns, the one with the most pixels is read.
    - class logits [B,Q,K+1] and mask logits [B,Q,h,w] of queries, as in MaskFormer and Mask2Former. The score of a
      class is sum_q softmax(class)_qk sigmoid(mask)_q, its semantic inference.
    - mask logits [B,P,M,h,w] of P prompts with M masks each, and `iou_scores` [B,P,M], as in SAM. Each mask is a class.

    Source: Vinogradova et al., "Towards Interpretable Semantic Segmentation via Gradient-weighted Class Activation
    Mapping", AAAI 2020, eq. 2. The paper sums over the region, which differs from the mean by a factor.

    Parameters
    ----------
    category
        A class id or name, or one per image. It is optional if the model has one score per pixel. For SAM, it is the
        index of a mask, by default of the mask with the highest `iou_scores` in the original image.
    mask
        [h,w] or [B,h,w] at the output's size ([d,h,w] or [B,d,h,w] for volumes): booleans or non-negative weights.
        Default: the pixels to which the model assigns the class in the original image.
    prompt
        Index of the prompt, if the model segments several prompts of an image.
    """

    category: Class | Sequence[Class] | Tensor | None = None
    mask: Tensor | None = None
    prompt: int | None = None

    def with_ids(self, id_of: Callable[[str], int]) -> "Region":
        """See `Target.with_ids`."""
        return replace(self, category=replace_names(self.category, id_of))

    @property
    def kind(self) -> Hashable:
        """See `Target.kind`."""
        return type(self).__name__, self.prompt

    def reads(self, output: Any) -> Tensor | None:
        """See `Target.reads`."""
        return pixel_reader(output, 1, prompt=self.prompt)(output, 1)

    def bind(self, output: Any, logits: ScoreReader, batch: int) -> BoundTarget:
        """See `Target.bind`."""
        pixels = pixel_reader(output, batch, logits.are_probabilities, self.prompt)
        scores = pixels(output, batch).detach()
        classes, size = scores.shape[1], scores.shape[2:]
        category = pixels.default(output, scores) if self.category is None else self.category
        ids = class_ids(category, scores, batch)
        if ids.ndim != 1:
            raise TargetError(f"a region has one class per image, got class ids of shape {list(ids.shape)}")
        valid = (ids >= 0) & (ids < classes)
        ids = ids.clamp(0, classes - 1)
        mask = pixels.predicted(scores, ids) if self.mask is None else self.mask.to(scores.device)
        if mask.shape not in (size, (batch, *size)):
            raise TargetError(
                f"the mask of a region must have the output's size, {list(size)} or {[batch, *size]}; "
                f"got {list(mask.shape)}: resize it"
            )
        weights = mask.to(torch.promote_types(scores.dtype, torch.float32)).expand(batch, *size)
        total = weights.flatten(1).sum(1)
        weights = weights / total.where(total > 0, 1).view(batch, *[1] * len(size))
        reason = (
            "regions without pixels: the mask contains no pixel, or the class is not a class of this model (0 to "
            f"{classes - 1}); pass a mask with at least one pixel"
        )
        return BoundTarget(RegionMeasure(ids, weights, pixels), batch, valid & (total > 0), reason)
