"""The view of a pass record that one explainer receives: what its `needs` declared, and nothing else."""

import copy
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Protocol, TypeVar, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from xai_core.capture.needs import Needs
from xai_core.capture.pass_record import IMAGES, AttentionLeaf, LayerLeaf, Leaf, PassRecord
from xai_core.errors import NoAttentionError, NotCapturedError, PluginContractError
from xai_core.model.adapter import ModelAdapter
from xai_core.model.attention import AttentionLayer
from xai_core.model.gates import Gated
from xai_core.model.layouts import Layer
from xai_core.model.parallel_attention import ParallelAttention
from xai_core.model.shared_copy import SharedModel
from xai_core.model_scorer import ModelScorer
from xai_core.outputs import detached
from xai_core.precision import at_least_float32
from xai_core.saliency import Relevance
from xai_core.tensor_writes import version

T = TypeVar("T")


@runtime_checkable
class Explains(Protocol):
    """Interface of an explainer for `Captured.explain_images`."""

    def needs(self, adapter: ModelAdapter) -> Needs:
        """Return what the explainer needs from a pass."""

    def explain(self, captured: "Captured") -> Tensor | Relevance:
        """Return relevance [B,h,w]."""


@runtime_checkable
class FurtherPasses(Protocol):
    """Passes beyond the shared one, for the targets of one record.

    Attributes
    ----------
    model_scorer
        Scores images for the record's targets.
    """

    model_scorer: ModelScorer

    def partial_forward(self, layer: str) -> ModelScorer:
        """Return the scorer of activations that replace the output of a layer."""

    def subset_forward(self) -> ModelScorer:
        """Return the scorer of subsets of the patch tokens."""

    def explain_images(self, index: int, images: Tensor, explainer: Explains) -> Tensor:
        """Return an explainer's relevance of other images, for the target with this index."""

    def shared_model(self, index: int, precise: bool) -> SharedModel:
        """Return a copy of the model for the target with this index, see `Captured.shared_model`."""


class Captured:
    """An explainer's view of the shared pass: what its `needs` declared, for one target.

    Attributes
    ----------
    images
        [B,C,H,W] or [B,C,D,H,W] as the model received them, on its device.
    output
        The model's output.
    target
        The target, bound to this batch.
    index
        The index of the target among the targets of the pass, as in `model_score.each`.
    adapter
        The model's adapter, with the token grid and the weights of the tokens that the classification head reads.
    """

    def __init__(
        self,
        record: PassRecord,
        needs: Needs,
        adapter: ModelAdapter,
        passes: FurtherPasses,
        index: int = 0,
        package: str = "",
    ) -> None:
        self.images, self.output, self.target = record.images, detached(record.output), record.targets.all[index]
        self.adapter, self.index = adapter, index
        self._record, self._needs, self._passes, self._package = record, needs, passes, package
        self._layers = tuple(adapter.layer_name(layer) for layer in needs.activations)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the captured layers, in the order of `Needs.activations`."""
        return self._layers

    def activation(self, layer: Layer | None = None) -> Float[Tensor, "B K *grid"]:
        """Return the output of a layer (default: the only declared one), channels first, float32 or float64.

        The grid is [h,w], or [d,h,w] for volumes.
        """
        name = self._name(layer)
        return self._spatial(self._record.activations[name], name)

    def gradient(self, layer: Layer | None = None) -> Float[Tensor, "B K *grid"]:
        """Return the gradient of the target's score with respect to a layer's output, in the layout of `activation`."""
        self._require(self._needs.gradients or self._needs.curvature, "gradients=True")
        return self._of_target(self._record.gradients, self._name(layer))

    def curvature(self, layer: Layer | None = None) -> Float[Tensor, "B K *grid"]:
        """Return the product of the score's Hessian with a layer's output, in the layout of `activation`."""
        self._require(self._needs.curvature, "curvature=True")
        return self._of_target(self._record.curvatures, self._name(layer))

    @property
    def image_gradient(self) -> Float[Tensor, "B C *size"]:
        """Gradient of the target's score with respect to the images, float32 or float64."""
        self._require(self._needs.image_gradient, "image_gradient=True")
        return at_least_float32(self._record.gradients[IMAGES][self.index])

    @property
    def attention(self) -> Sequence[AttentionLayer]:
        """Attention layers on the path from the images to the scores, in order of execution.

        They contain gradients of the target's score if these were declared.
        """
        numbers = [number for number, call in enumerate(self.adapter.probe.attention.calls) if call.on_path]
        if not numbers:
            self._require(self._needs.attention or self._needs.attention_gradients, "attention=True")
            raise NoAttentionError(
                "this model has no attention layer on the path from the images to the scores; use a method for feature "
                "maps, such as grad-cam"
            )
        return [self.attention_layer(number) for number in numbers]

    def attention_layer(self, *numbers: int) -> AttentionLayer:
        """Return one attention layer, or several parallel layers as one layer with all their attention heads.

        The `numbers` are the indices of the layers among all attention layers of a forward pass, as in `AttentionPath`.
        """
        with_gradients = self._needs.attention_gradients
        self._require(self._needs.attention or with_gradients, "attention=True")
        layers = [copy.copy(self._record.attention[number]) for number in numbers]
        if with_gradients:
            gradients = (self._record.gradients[AttentionLeaf(number)][self.index] for number in numbers)
            layers = [layer.with_gradient(gradient) for layer, gradient in zip(layers, gradients, strict=True)]
        return layers[0] if len(layers) == 1 else ParallelAttention(layers)

    @property
    def gates(self) -> Sequence[Gated]:
        """Features and values of the declared gates, in the declared order, float32 or float64."""
        self._require(bool(self._needs.gates), "gates=(gate, ...)")
        return [Gated(*map(at_least_float32, self._record.gates[gate])) for gate in self._needs.gates]

    @property
    def block_attention(self) -> Sequence[AttentionLayer]:
        """Attention of each transformer block in `Needs.block_scores`, with the gradient of the block's own score.

        If one query pools the last tokens (`AttentionPath.pooling`), there is a single layer: the attention of this
        query to the tokens of the L blocks. Its batch contains L B images, block after block.
        """
        self._require(bool(self._needs.block_scores), "block_scores=adapter.blocks")
        own = self._record.block_gradients[self._needs.block_scores]
        return [layer.with_gradient(gradient[self.index]) for layer, gradient in own]

    @property
    def rivals(self) -> "list[Captured]":
        """Views for the declared rival classes, highest score first.

        The list is shorter if the model has fewer classes, and empty if the target is not a class.
        """
        self._require(self._needs.rivals not in (0, ()), "rivals=N")
        targets = self._record.targets
        indices = targets.rivals[self.index] if self.index < targets.count else {}
        return [self._view(self._needs, index) for index in indices.get(self._needs.rivals, ())]

    @property
    def parts(self) -> "list[Captured]":
        """Views of the declared `Needs.parts`, in order."""
        return [self._view(part, self.index) for part in self._needs.parts]

    @property
    def model_score(self) -> ModelScorer:
        """Scores other images, [N,C,H,W] -> [N]: see `xai_core.model_scorer.ModelScorer`."""
        return self._passes.model_scorer.of_target(self.index)

    def partial_forward(self, layer: Layer | None = None) -> ModelScorer:
        """Return a function that scores activations [N,K,h,w] in place of a layer's output.

        It returns the target's scores [N]. If possible, it runs only the part of the model after the layer. Prefix
        tokens keep their values.
        """
        return self._passes.partial_forward(self._name(layer)).of_target(self.index)

    def subset_forward(self) -> ModelScorer:
        """Return a function that scores subsets of the patch tokens, after `adapter.require_token_subsets`.

        Its argument contains the cells that are kept, int64 [N,k], in row-major order. It returns the target's scores
        [N]. The other patch tokens are dropped before the first transformer block, and the blocks run on k of them.
        Tokens without a location, such as a class token, are always kept.
        """
        return self._passes.subset_forward().of_target(self.index)

    def explain_images(self, images: Float[Tensor, "B C *size"], explainer: Explains) -> Float[Tensor, "B *grid"]:
        """Return an explainer's relevance of other images, for the same target.

        Each image replaces the image of the batch with the same index.
        """
        return self._passes.explain_images(self.index, images, explainer)

    def shared_model(self, precise: bool = False) -> SharedModel:
        """Return a module that scores images, can be differentiated and accepts hooks: see `SharedModel`.

        With `precise`, it contains float64 copies of the parameters instead, on which autocast has no effect. On a
        device that does not support float64, the copies are float32.
        """
        return self._passes.shared_model(self.index, precise)

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Return the value stored under `key` in this pass. It is computed on first use, and all targets share it.

        Explainers of different packages do not share values.
        """
        shared, own = self._record.shared, (self._package, key)
        if own not in shared:
            shared[own] = compute()
        return shared[own]

    def _view(self, needs: Needs, index: int) -> "Captured":
        return Captured(self._record, needs, self.adapter, self._passes, index, self._package)

    def _name(self, layer: Layer | None) -> str:
        if layer is None and len(self._layers) != 1:
            raise NotCapturedError(
                f"expected one of the declared layers as `layer`: {', '.join(self._layers) or 'none'}"
            )
        name = self._layers[0] if layer is None else self.adapter.layer_name(layer)
        if name not in self._layers:
            raise NotCapturedError(
                f"layer {name!r} was not declared; this explainer's `needs` declared {list(self._layers)}"
            )
        return name

    def _of_target(self, tensors: Mapping[Leaf, Tensor], name: str) -> Tensor:
        return self._spatial(tensors[LayerLeaf(name)][self.index], name)

    def _spatial(self, tensor: Tensor, name: str) -> Tensor:
        before = version(tensor)
        maps = self.adapter.spatial(tensor, name)
        if version(tensor) != before:
            raise PluginContractError(
                f"`spatial` of the adapter {type(self.adapter).__name__} wrote in place to a captured tensor; return a "
                "new tensor"
            )
        return at_least_float32(maps)

    def _require(self, declared: bool, how: str) -> None:
        if not declared:
            what = how.partition("=")[0].replace("_", " ")
            raise NotCapturedError(f"this explainer's `needs` did not request {what}; declare `{how}`")
