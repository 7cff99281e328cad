"""The backward pass of a recorded forward pass: gradients of the targets' scores, and of blocks' own scores."""

from collections.abc import Sequence, Set
from typing import Any

import torch
from torch import Tensor, nn

from xai_core.capture.block_scores import own_gradients
from xai_core.capture.derivatives import derivatives
from xai_core.capture.partial_forward import PartialForward
from xai_core.capture.pass_record import AttentionLeaf, LayerLeaf, Leaf
from xai_core.capture.pass_recorder import PassRecorder
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


def block_gradients(
    model: nn.Module,
    forward: Forward,
    images: Tensor,
    recorder: PassRecorder,
    targets: Sequence[BoundTarget],
) -> tuple[dict[tuple[Features, ...], list[tuple[AttentionLeaf, Tensor]]], set[Leaf]]:
    """Return the gradients of the blocks' own scores, and the attention outputs that are not connected to them."""
    gradients: dict[tuple[Features, ...], list[tuple[AttentionLeaf, Tensor]]] = {}
    unconnected: set[Leaf] = set()
    for blocks in recorder.needs.block_scores:
        last = blocks[-1]
        after = PartialForward(model, forward, model.get_submodule(last.layer), images, at_input=last.is_input)
        batch_dim = 1 if last.layout == "LNC" else 0
        found = own_gradients([recorder.blocks[block.layer] for block in blocks], after, targets, batch_dim)
        gradients[blocks] = [(leaf, gradient) for leaf, gradient in found if gradient is not None]
        unconnected |= {leaf for leaf, gradient in found if gradient is None}
    return gradients, unconnected
