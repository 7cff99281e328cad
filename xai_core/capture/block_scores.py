"""Scores of intermediate blocks: the model's output when the layers after the last block receive a block's tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from xai_core.capture.derivatives import derivatives, pulled_back
from xai_core.capture.partial_forward import PartialForward
from xai_core.capture.pass_record import AttentionLeaf
from xai_core.model.autograd_graph import require_gradients
from xai_core.targets.target import BoundTarget


@dataclass(frozen=True, eq=False)
class BlockTokens:
    """Output tokens of a block and the output of its attention, connected in one autograd graph.

    Attributes
    ----------
    tokens
        The block's output tokens.
    attended
        The output of the block's attention.
    attention
        The leaf of the block's attention.
    """

    tokens: Tensor
    attended: Tensor
    attention: AttentionLeaf


def block_scores(
    tokens: Tensor, blocks: int, after: PartialForward, targets: Sequence[BoundTarget]
) -> Float[Tensor, "V N"]:
    """Return the scores of a number of blocks, whose tokens are concatenated along the batch, for V targets."""
    of = torch.arange(targets[0].batch, device=tokens.device).repeat(blocks)
    output = after(tokens, of)
    return torch.stack([target.model_score(output, of, "gradient") for target in targets])


def own_gradients(
    blocks: Sequence[BlockTokens], after: PartialForward, targets: Sequence[BoundTarget], batch_dim: int
) -> list[tuple[AttentionLeaf, Tensor | None]]:
    """Return the gradient [V,...] of each block's own scores with respect to the output of its attention.

    Parameters
    ----------
    blocks
        The L blocks.
    after
        The layers after the last block. They run once, on the tokens of all blocks, concatenated along the batch.
    targets
        The V targets.
    batch_dim
        The batch dimension of the tokens.

    Returns
    -------
    list
        For each block, the leaf of its attention and the gradient. The gradient is None if the scores do not depend
        on the attention, or if the model cuts the graph.
    """
    require_gradients(blocks[-1].tokens)
    tokens = torch.cat([block.tokens.detach() for block in blocks], batch_dim).requires_grad_()
    scores = block_scores(tokens, len(blocks), after, targets)
    gradients = derivatives(scores, {"tokens": tokens}, frozenset())[0] if scores.requires_grad else {}
    if not gradients:
        return [(block.attention, None) for block in blocks]
    per_block = gradients["tokens"].chunk(len(blocks), 1 + batch_dim)
    return [
        (block.attention, pulled_back(block.tokens, block.attended, gradient))
        for block, gradient in zip(blocks, per_block, strict=True)
    ]
