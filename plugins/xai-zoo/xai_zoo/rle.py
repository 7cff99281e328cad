"""Run-length encoding of masks in COCO format."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

_FIRST, _BITS = 48, 5
_VALUE, _SIGN, _MORE = 0x1F, 0x10, 0x20


def decode(rle: Mapping[str, Any]) -> Bool[Tensor, "H W"]:
    """Decode `{"counts": ..., "size": [H, W]}`: lengths of alternating runs of false and true, column by column.

    The lengths are a list, or text that `packed_runs` reads.

    Raises
    ------
    ValueError
        If the runs are damaged, or do not add up to the size.
    """
    height, width = rle["size"]
    runs = packed_runs(rle["counts"]) if isinstance(rle["counts"], str) else rle["counts"]
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError(f"its run lengths add up to {sum(runs)} pixels; expected {height * width}")
    mask = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return torch.from_numpy(mask.reshape(width, height).T.copy())


def packed_runs(text: str) -> Sequence[int]:
    """Return the run lengths in COCO's compressed text.

    A number consists of characters from `0` to `o`: five bits each, the lowest first, and one bit that is set if
    another character follows. The last character contains the sign. From the fourth number on, each is the difference
    from the run length before the previous one.

    Raises
    ------
    ValueError
        If the text contains another character, or ends within a number.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - _FIRST
        if not 0 <= bits <= _VALUE | _MORE:
            raise ValueError(f"its compressed run lengths contain {character!r}")
        value |= (bits & _VALUE) << shift
        shift += _BITS
        if bits & _MORE:
            continue
        if bits & _SIGN:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("its compressed run lengths end within a number")
    return runs
