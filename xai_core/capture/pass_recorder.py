"""Receives layer outputs, attention and block tokens while the model runs, and starts the autograd graph."""

from typing import Any

import torch
from torch import Tensor

from xai_core.capture.block_scores import BlockTokens
from xai_core.capture.needs import NeedsUnion
from xai_core.capture.pass_record import IMAGES, AttentionLeaf, LayerLeaf, Leaf
from xai_core.errors import LayerError
from xai_core.model.attention import AttentionLayer
from xai_core.model.attention_call import require_same_calls
from xai_core.model.attention_paths import AttentionPaths
from xai_core.model.sites import Site
from xai_core.outputs import first_tensor, leaf_at, with_first_tensor, with_leaves


class PassRecorder:
    """Records one forward pass.

    The forward pass builds no graph before the earliest tensor in `differentiated`. At that tensor, the recorder
    detaches a leaf, enables gradients, and passes a clone of the leaf on to the model. Frozen parameters, in-place
    activations and the `.grad` of parameters therefore have no influence.

    Parameters
    ----------
    needs
        The union of what the explainers need.
    paths
        The attention that the forward pass is expected to contain.
    grad_from_start
        Whether gradients are enabled during the whole forward pass.

    Attributes
    ----------
    tensors
        The recorded tensors. If they are differentiated, they are leaves or inner tensors of the graph.
    differentiated
        The tensors that gradients are taken with respect to.
    cut
        The tensors after which a `no_grad` block of the model has cut the graph.
    attention
        The attention layers, in order of execution.
    blocks
        The tokens of the recorded blocks, by module name.
    pooled
        The tokens of the recorded blocks instead, if one query pools the last tokens by attention.
    """

    def __init__(self, needs: NeedsUnion, paths: AttentionPaths, grad_from_start: bool) -> None:
        self.needs, self.paths, self.calls = needs, paths, paths.calls
        self.grad_from_start = grad_from_start or needs.image_gradient
        self.tensors: dict[Leaf, Tensor] = {}
        self.differentiated: set[Leaf] = {LayerLeaf(name) for name in needs.gradients}
        if needs.image_gradient:
            self.differentiated.add(IMAGES)
        self.cut: set[Leaf] = set()
        self.attention: list[AttentionLayer] = []
        self.blocks: dict[str, BlockTokens] = {}
        self.pooled: dict[str, Tensor] = {}

    @property
    def tracks_attention(self) -> bool:
        """Return whether the output of each attention layer becomes a leaf."""
        return self.needs.attention_gradients or bool(self.needs.block_scores and self.paths.pooling is None)

    @property
    def attention_leaves(self) -> set[AttentionLeaf]:
        """The attention outputs that were recorded."""
        return {leaf for leaf in self.tensors if isinstance(leaf, AttentionLeaf)}

    def on_images(self, images: Tensor) -> Tensor:
        """Record the images as a leaf, if their gradient is needed, and return the images for the model."""
        if IMAGES not in self.differentiated:
            return images
        self.tensors[IMAGES] = images.detach().clone().requires_grad_()
        return self.tensors[IMAGES].clone()

    def on_layer(self, name: str, site: Site, output: Any) -> Any:
        """Record the tensor at a site in the output of a layer, and return the output with its replacement."""
        leaf, tensor = LayerLeaf(name), leaf_at(output, site.path)
        if tensor is None:
            raise LayerError(
                f"layer {name!r} has a different output for this batch than for a single image: the "
                f"{type(output).__name__} does not contain the same tensors. Choose another layer"
            )
        if leaf in self.differentiated:
            return with_leaves(output, {site.path: self._differentiate(leaf, tensor)})
        self.tensors[leaf] = tensor.detach().clone()
        return output

    def on_attention(self, layer: AttentionLayer) -> None:
        """Record an attention layer.

        Raises
        ------
        UnsuitableError
            If the model runs different attention layers than in the forward pass of the probe.
        """
        self.attention.append(layer)
        require_same_calls(self.calls, self.attention, is_complete=False)

    def on_attention_output(self, output: Any) -> Any:
        """Record the output of the attention that ran last, and return its replacement if the scores depend on it."""
        number = len(self.attention) - 1
        if not self.paths.is_differentiable(number):
            return output
        leaf = AttentionLeaf(number, str(self.calls[number]))
        self.differentiated.add(leaf)
        tensor = first_tensor(output)
        assert tensor is not None
        return with_first_tensor(output, self._differentiate(leaf, tensor))

    def on_block(self, name: str, output: Any) -> Any:
        """Record the tokens of a block and the output of its attention, and return the replacement of the tokens."""
        tokens, leaves = first_tensor(output), self.attention_leaves
        is_pooled = self.paths.pooling is not None
        if tokens is None or not (leaves or is_pooled):
            raise LayerError(f"layer {name!r} is not a transformer block that contains attention and returns tokens")
        if is_pooled:
            self.pooled[name] = tokens.detach()
        else:
            leaf = max(leaves, key=lambda leaf: leaf.number)
            self.blocks[name] = BlockTokens(tokens, self.tensors[leaf], leaf)
        return with_first_tensor(output, tokens.clone())  # the model may write to it

    def _differentiate(self, leaf: Leaf, tensor: Tensor) -> Tensor:
        """Record a tensor whose gradient is computed, and return a copy that the model may write to."""
        started = any(other in self.tensors for other in self.differentiated)
        if started and not torch.is_grad_enabled() and not self.grad_from_start:
            self.cut.add(leaf)
        inside_graph = tensor.requires_grad and started
        self.tensors[leaf] = tensor if inside_graph else tensor.detach().clone().requires_grad_()
        torch.set_grad_enabled(True)
        return self.tensors[leaf].clone()
