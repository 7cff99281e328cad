"""Run-length encoding of masks in COCO format."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from xai_core.plugin import FileError


def compressed(rle: Mapping[str, Any]) -> bool:
    """Whether the runs are compressed into text, which pycocotools decodes."""
    return not isinstance(rle["counts"], list)


def decode(rle: Mapping[str, Any]) -> Bool[Tensor, "H W"]:
    """Decode `{"counts": ..., "size": [H, W]}`: lengths of alternating runs of false and true, column by column."""
    height, width = rle["size"]
    if compressed(rle):
        from pycocotools import mask

        return torch.from_numpy(mask.decode(dict(rle)).astype(bool))  # type: ignore[no-untyped-call]
    return torch.from_numpy(_runs(rle["counts"], height * width).reshape(width, height).T.copy())


def _runs(counts: Sequence[int], size: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    if min(counts, default=0) < 0 or sum(counts) != size:
        raise FileError(f"the run lengths of a mask add up to {sum(counts)} pixels; expected {size}")
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts)
