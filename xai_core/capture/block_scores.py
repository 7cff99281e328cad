"""The scores of layers: what the model would say if an earlier block's tokens were those of the last."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xai_core.capture.derivatives import derivatives, pulled_back
from xai_core.capture.partial_forward import PartialForward
from xai_core.targets.target import BoundTarget


@dataclass(frozen=True, eq=False)
class Formed:
    """A block's tokens and what its own attention gave, in one graph; `number` is that attention's."""

    tokens: Tensor
    attended: Tensor
    number: int


def own_gradients(
    formed: Sequence[Formed], after: PartialForward, targets: Sequence[BoundTarget], across: int
) -> list[tuple[int, Tensor | None]]:
    """The gradients [V,...] of each block's own scores at what its attention gave, with that attention's number.

    Parameters
    ----------
    after
        What follows the last block. It runs once, on all blocks' tokens side by side.
    targets
        The V targets.
    across
        The dimension of the tokens that is the batch.

    Returns
    -------
    list
        None for a gradient where the scores do not depend on the attention, or a graph was cut.
    """
    tokens = torch.cat([one.tokens.detach() for one in formed], across).requires_grad_()
    of = torch.arange(targets[0].batch, device=tokens.device).repeat(len(formed))
    output = after(tokens, of)
    scores = torch.stack([target.model_score(output, of) for target in targets])  # [V, L B]
    gradients = derivatives(scores, {"": tokens}, frozenset())[0] if scores.requires_grad else {}
    if not gradients:
        return [(one.number, None) for one in formed]
    each = gradients[""].chunk(len(formed), 1 + across)
    return [(one.number, pulled_back(one.tokens, one.attended, at)) for one, at in zip(formed, each, strict=True)]
