"""Arithmetic of boxes in pixels: xyxy is left, top, right, bottom, and cxcywh is center, width and height."""

import torch
from jaxtyping import Float
from torch import Tensor


def corners(centers: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """Convert boxes from cxcywh to xyxy."""
    middle, size = centers[..., :2], centers[..., 2:]
    return torch.cat([middle - size / 2, middle + size / 2], -1)


def area(boxes: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch"]:
    """Return the area of boxes xyxy. It is zero if the right or the bottom is not beyond the left or the top."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)


def iou(boxes: Float[Tensor, "N D 4"], reference: Float[Tensor, "N 4"]) -> Float[Tensor, "N D"]:
    """Return the intersection over union of D boxes xyxy with the reference box of their image."""
    other = reference[:, None]
    shared = area(torch.cat([boxes[..., :2].maximum(other[..., :2]), boxes[..., 2:].minimum(other[..., 2:])], -1))
    union = area(boxes) + area(other) - shared
    return shared / union.where(union > 0, 1)


def filled(boxes: Float[Tensor, "B 4"], size: tuple[int, int]) -> Tensor:
    """Return masks [B,H,W] bool of the pixels whose centers lie in the boxes xyxy."""
    height, width = size
    rows = torch.arange(height, device=boxes.device)[None, :, None] + 0.5
    columns = torch.arange(width, device=boxes.device)[None, None, :] + 0.5
    left, top, right, bottom = (side[:, None, None] for side in boxes.unbind(1))
    return (columns >= left) & (columns <= right) & (rows >= top) & (rows <= bottom)
