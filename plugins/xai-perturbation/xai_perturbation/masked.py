"""Scores of a batch's images seen through masks, a block at a time."""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from xai_core.plugin import ModelScorer


def masked_scores(
    score: ModelScorer,
    start: Float[Tensor, "B C H W"],
    finish: Float[Tensor, "B C H W"],
    masks: Callable[[slice], Float[Tensor, "n H W"]],
    count: int,
    kind: str,
) -> Iterator[tuple[Float[Tensor, "n H W"], Float[Tensor, "V B n"]]]:
    """Score each image of `start` that turns into `finish` where a mask is 1, for all targets of the pass.

    `masks` makes those of some numbers below `count`, and is asked for all in order. As many at once as one block
    holds for the whole batch, but at least one: give these masks, and the scores through them.
    """
    batch, first = len(start), 0
    while first < count:
        part = slice(first, min(first + max(1, score.block // batch), count))
        some = masks(part)
        mixed = torch.lerp(start[:, None], finish[:, None], some[:, None].to(start.dtype))  # [B,n,C,H,W]
        yield some, score.each(mixed.flatten(0, 1), kind=kind).unflatten(1, (batch, -1))
        first = part.stop
