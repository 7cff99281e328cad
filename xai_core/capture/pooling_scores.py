"""Scores of intermediate blocks of a model in which one query pools the tokens by attention.

These scores are differentiated with respect to the attention of this query to the tokens of each block.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from xai_core.capture.block_scores import block_scores
from xai_core.capture.derivatives import derivatives
from xai_core.capture.partial_forward import PartialForward
from xai_core.model.attention import AttentionLayer
from xai_core.model.attention_reader import AttentionReader
from xai_core.model.head_layout import HeadLayout
from xai_core.outputs import first_tensor, with_first_tensor
from xai_core.targets.target import BoundTarget


class PoolingAttention:
    """The pooling of the tokens of L blocks, as a leaf at which the autograd graph starts.

    Parameters
    ----------
    number
        The index of the pooling among all attention layers of a forward pass.
    batch
        L B, the number of token sequences.
    layouts
        The order of windows and heads in each attention layer.

    Attributes
    ----------
    layer
        The attention of the query, for L B token sequences. None before the pooling has run.
    leaf
        The tensor with respect to which its gradient is taken.
    """

    def __init__(self, number: int, batch: int, layouts: Sequence[HeadLayout | None]) -> None:
        self._number, self._batch, self._layouts = number, batch, layouts
        self.layer: AttentionLayer | None = None
        self.leaf: Tensor | None = None

    def reader(self) -> AttentionReader:
        """Return a context that reads the pooling in one run of the model."""
        numbers = itertools.count()
        self.layer = self.leaf = None

        def on_layer(layer: AttentionLayer) -> None:
            if next(numbers) == self._number:
                self.layer = layer

        return AttentionReader(self._batch, on_layer, self._on_output, self._layouts)

    def _on_output(self, output: Any) -> Any:
        """Start the graph at the output of the pooling."""
        tensor = first_tensor(output)
        if self.layer is None or self.leaf is not None or tensor is None:
            return output
        self.leaf = tensor.detach().clone().requires_grad_()
        torch.set_grad_enabled(True)
        return with_first_tensor(output, self.leaf.clone())


def pooling_gradient(
    tokens: Sequence[Tensor],
    pooling: PoolingAttention,
    after: PartialForward,
    targets: Sequence[BoundTarget],
    batch_dim: int,
) -> Float[Tensor, "V ..."] | None:
    """Return the gradient of each block's own scores with respect to the output of the pooling of its tokens.

    Parameters
    ----------
    tokens
        The output tokens of the L blocks.
    pooling
        The pooling.
    after
        The layers after the last block, which run in the context `pooling.reader()`.
    targets
        The V targets.
    batch_dim
        The batch dimension of the tokens.

    Returns
    -------
    Tensor or None
        None if the scores do not depend on the pooling, or if the model cuts the graph.
    """
    scores = block_scores(torch.cat([*tokens], batch_dim), len(tokens), after, targets)
    if pooling.leaf is None or not scores.requires_grad:
        return None
    return derivatives(scores, {"pooling": pooling.leaf}, frozenset())[0].get("pooling")
