"""The backward pass of a recorded forward pass: gradients of the targets' scores, and of blocks' own scores."""

from collections.abc import Callable, Sequence, Set
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from xai_core.capture.block_scores import own_gradients
from xai_core.capture.derivatives import derivatives
from xai_core.capture.partial_forward import PartialForward
from xai_core.capture.pass_record import AttentionLeaf, LayerLeaf, Leaf
from xai_core.capture.pass_recorder import PassRecorder
from xai_core.capture.pooling_scores import PoolingAttention, pooling_gradient
from xai_core.model.attention import AttentionLayer
from xai_core.model.execution import Forward
from xai_core.model.layouts import Features
from xai_core.targets.target import BoundTarget


def target_gradients(
    recorder: PassRecorder, wanted: Set[Leaf], targets: Sequence[BoundTarget], output: Any
) -> tuple[dict[Leaf, Tensor], dict[Leaf, Tensor]]:
    """Return gradients and curvatures [V,...] of the V targets' scores, by tensor.

    A tensor without an entry is not connected to the scores.
    """
    if not wanted:
        return {}, {}
    scores = torch.stack([target.model_score(output, kind="gradient") for target in targets])  # [V,B]
    if not scores.requires_grad:
        return {}, {}
    curved = {LayerLeaf(name) for name in recorder.needs.curvatures}
    leaves = {leaf: tensor for leaf, tensor in recorder.tensors.items() if leaf in wanted}
    gradients, curvatures = derivatives(scores, leaves, curved)
    attention = recorder.attention_leaves
    if recorder.grad_from_start and attention & gradients.keys():
        for leaf in attention - gradients.keys():  # the score does not depend on this attention
            tensor = recorder.tensors[leaf].detach()
            gradients[leaf] = tensor.new_zeros((len(targets), *tensor.shape))
    return gradients, curvatures


BlockGradient = tuple[AttentionLeaf, AttentionLayer, Tensor | None]
"""The attention of a block, and the gradient [V,...] of the block's own scores, or None if they do not depend on it."""


def block_gradients(
    model: nn.Module,
    forward: Forward,
    images: Tensor,
    recorder: PassRecorder,
    targets: Sequence[BoundTarget],
) -> tuple[dict[tuple[Features, ...], list[tuple[AttentionLayer, Tensor]]], set[Leaf]]:
    """Return the gradients of the blocks' own scores, and the attention outputs that are not connected to them."""
    gradients: dict[tuple[Features, ...], list[tuple[AttentionLayer, Tensor]]] = {}
    unconnected: set[Leaf] = set()
    for blocks in recorder.needs.block_scores:
        last = blocks[-1]
        module = model.get_submodule(last.layer)
        after = partial(PartialForward, model, forward, module, images, last.call, at_input=last.is_input)
        of_blocks = _of_blocks if recorder.paths.pooling is None else _of_pooling
        found = of_blocks(blocks, recorder, after, targets)
        gradients[blocks] = [(layer, gradient) for _, layer, gradient in found if gradient is not None]
        unconnected |= {leaf for leaf, _, gradient in found if gradient is None}
    return gradients, unconnected


def _of_blocks(
    blocks: tuple[Features, ...],
    recorder: PassRecorder,
    after: Callable[[], PartialForward],
    targets: Sequence[BoundTarget],
) -> list[BlockGradient]:
    """Return the attention of each block with its gradient."""
    tokens = [recorder.blocks[block.layer] for block in blocks]
    found = own_gradients(tokens, after(), targets, _batch_dim(blocks))
    return [(leaf, recorder.attention[leaf.number], gradient) for leaf, gradient in found]


def _of_pooling(
    blocks: tuple[Features, ...],
    recorder: PassRecorder,
    after: Callable[..., PartialForward],
    targets: Sequence[BoundTarget],
) -> list[BlockGradient]:
    """Return the pooling of the tokens of all blocks, as one layer with its gradient."""
    number, batch = recorder.paths.pooling, len(blocks) * targets[0].batch
    assert number is not None
    pooling = PoolingAttention(number, batch, recorder.paths.layouts(batch))
    tokens = [recorder.pooled[block.layer] for block in blocks]
    gradient = pooling_gradient(tokens, pooling, after(context=pooling.reader), targets, _batch_dim(blocks))
    leaf = AttentionLeaf(number, str(recorder.calls[number]))
    return [(leaf, pooling.layer or recorder.attention[number], gradient)]


def _batch_dim(blocks: tuple[Features, ...]) -> int:
    return 1 if blocks[-1].layout == "LNC" else 0
