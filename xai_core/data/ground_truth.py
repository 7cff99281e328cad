"""Ground-truth masks at the pixels that a model receives."""

from math import ceil, floor

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xai_core.data.sources import LoadedModel, Sample
from xai_core.errors import CroppedGroundTruthError, InputShapeError, NoGroundTruthError, UnsuitableError


def model_mask(loaded: LoadedModel, sample: Sample) -> Bool[Tensor, "*size"]:
    """Return a sample's ground-truth mask [h,w], or [d,h,w] of a volume, at the model's input size.

    The mask is passed through the model's `preprocess` as an image that is white inside the ground truth. It is
    therefore resized and cropped like the image. A pixel is true if its value is greater than 0.5 after the
    normalization is undone. If a sample has no mask, its filled boxes are used.

    Raises
    ------
    UnsuitableError
        If the model has no `restore`, which undoes the normalization.
    NoGroundTruthError
        If the sample has neither a mask nor boxes.
    CroppedGroundTruthError
        If no pixel of the ground truth is left: it lies outside the crop, or is too small for the model's input size.
    InputShapeError
        If the mask does not have the image's size.
    """
    if loaded.restore is None:
        raise UnsuitableError(
            f"{loaded.spec or 'the model'} has no `restore`, the inverse of the normalization in `preprocess`, so masks"
            " cannot be preprocessed; create the LoadedModel with restore="
        )
    truth = _ground_truth(sample)
    white = truth.float().expand(3 if truth.ndim == 2 else len(sample.image), *truth.shape)  # type: ignore[arg-type]
    mask = loaded.restore(loaded.preprocess(white)).mean(0) > 0.5
    if not mask.any():
        raise CroppedGroundTruthError(
            f"the ground truth of {sample.id} lies entirely outside the {'x'.join(map(str, mask.shape))} pixels that"
            " the model receives, or is too small; skip this sample"
        )
    return mask


def box_mask(boxes: Float[Tensor, "N 4"], height: int, width: int) -> Bool[Tensor, "H W"]:
    """Return a mask that is true on each pixel that a box touches. A box is (left, top, right, bottom) in pixels."""
    mask = torch.zeros(height, width, dtype=torch.bool)
    for left, top, right, bottom in boxes.clamp(min=0).tolist():
        mask[floor(top) : ceil(bottom), floor(left) : ceil(right)] = True
    return mask


def _ground_truth(sample: Sample) -> Bool[Tensor, "*size"]:
    size = _size(sample)
    if sample.mask is None:
        if sample.boxes is None or not len(sample.boxes) or len(size) > 2:
            raise NoGroundTruthError(f"{sample.id} has neither a mask nor boxes; expected a sample with ground truth")
        return box_mask(sample.boxes, *size)
    if sample.mask.shape != size:
        raise InputShapeError(
            f"the mask of {sample.id} is {list(sample.mask.shape)}, but its image is {list(size)}; expected equal sizes"
        )
    return sample.mask


def _size(sample: Sample) -> tuple[int, ...]:
    """Return the height and width of a sample's image, or the size of a volume."""
    if isinstance(sample.image, Tensor):
        return tuple(sample.image.shape[1:])
    return sample.image.height, sample.image.width
