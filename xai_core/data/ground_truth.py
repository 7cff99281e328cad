"""Where the truth is in what a model sees of a picture."""

from math import ceil, floor

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xai_core.data.sources import LoadedModel, Sample
from xai_core.errors import CroppedGroundTruthError, InputShapeError, NoGroundTruthError, UnsuitableError


def model_mask(loaded: LoadedModel, sample: Sample) -> Bool[Tensor, "h w"]:
    """Bring the truth of a sample to what the model takes of its image, to be given to `Engine.evaluate`.

    The mask, or where there is none all boxes filled, goes through the model's own `preprocess` as a picture that is
    white where the truth is. So it is resized and cropped as the image is, and a pixel is true where, the normalization
    undone, it is more than half white.

    Raises
    ------
    UnsuitableError
        Where the model has no `restore`, which undoes the normalization.
    NoGroundTruthError
        Where the sample has neither mask nor boxes.
    CroppedGroundTruthError
        Where nothing of the truth is left: it lies outside the crop, or is too small for the model's size.
    InputShapeError
        Where the mask is not of the image's size.
    """
    if loaded.restore is None:
        raise UnsuitableError(
            f"{loaded.spec or 'the model'} has no `restore`, the inverse of its `preprocess`'s normalization, so that"
            " no mask can go through it; make LoadedModel with restore="
        )
    white = _truth(sample).float().expand(3, -1, -1)
    mask = loaded.restore(loaded.preprocess(white)).mean(0) > 0.5
    if not mask.any():
        raise CroppedGroundTruthError(
            f"nothing of the truth of {sample.id} is in the {mask.shape[0]}x{mask.shape[1]} pixels that the model takes"
            " of it; leave the sample out"
        )
    return mask


def filled(boxes: Float[Tensor, "N 4"], height: int, width: int) -> Bool[Tensor, "H W"]:
    """Fill boxes, given as (left, top, right, bottom) in pixels: true on each pixel that one of them touches."""
    mask = torch.zeros(height, width, dtype=torch.bool)
    for left, top, right, bottom in boxes.clamp(min=0).tolist():
        mask[floor(top) : ceil(bottom), floor(left) : ceil(right)] = True
    return mask


def _truth(sample: Sample) -> Bool[Tensor, "H W"]:
    height, width = _size(sample)
    if sample.mask is None:
        if sample.boxes is None or not len(sample.boxes):
            raise NoGroundTruthError(f"{sample.id} has neither mask nor boxes; expected a sample whose truth is known")
        return filled(sample.boxes, height, width)
    if sample.mask.shape != (height, width):
        raise InputShapeError(
            f"the mask of {sample.id} is {list(sample.mask.shape)}, its image [{height}, {width}]; expected one size"
        )
    return sample.mask


def _size(sample: Sample) -> tuple[int, int]:
    """Height and width of a sample's image."""
    if isinstance(sample.image, Tensor):
        return sample.image.shape[-2], sample.image.shape[-1]
    return sample.image.height, sample.image.width
