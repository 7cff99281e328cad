"""What an explainer is given: a view of the record that shows what it declared, and nothing else."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Protocol, TypeVar, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from xai_core.capture.forward_pass import ATTENTION, IMAGES, PassRecord
from xai_core.capture.needs import Needs
from xai_core.errors import NoAttentionError, NotCapturedError
from xai_core.model.adapter import ModelAdapter
from xai_core.model.attention import AttentionLayer
from xai_core.model.gates import Gated
from xai_core.model.layouts import Layer
from xai_core.model.shared_copy import SharedModel
from xai_core.perturb import ModelScorer
from xai_core.saliency import Relevance
from xai_core.targets.target import wide

T = TypeVar("T")


@runtime_checkable
class Explains(Protocol):
    """An explainer, as `Captured.explain_images` uses it."""

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

    def explain_images(self, index: int, images: Tensor, explainer: Explains) -> Tensor:
        """Explain other images for target number `index`."""

    def shared_model(self, index: int) -> SharedModel:
        """Return a copy of the model that shares its parameters, for target number `index`."""


class Captured:
    """An explainer's view of the record: what its `needs` declared, for one target.

    Attributes
    ----------
    images
        [B,C,H,W] as the model took them, on its device.
    output
        What the model gave.
    target
        The target, bound to this batch.
    index
        Its number among those of the pass, as `score.each` orders them.
    adapter
        The model's adapter: token grid, rows that the head reads.
    """

    def __init__(
        self, record: PassRecord, needs: Needs, adapter: ModelAdapter, passes: FurtherPasses, index: int = 0
    ) -> None:
        self.images, self.output, self.target = record.images, record.output, record.targets[index]
        self.adapter, self.index = adapter, index
        self._record, self._needs, self._passes = record, needs, passes
        self._layers = tuple(adapter.layer_name(layer) for layer in needs.activations)

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the captured layers, as declared."""
        return self._layers

    def activation(self, layer: Layer | None = None) -> Float[Tensor, "B K h w"]:
        """The output of a layer (default: the only one declared) as channels first, float32 or better."""
        name = self._name(layer)
        return wide(self.adapter.spatial(self._record.activations[name], name))

    def gradient(self, layer: Layer | None = None) -> Float[Tensor, "B K h w"]:
        """The gradient of the target's score at that output, in the same layout."""
        self._require(self._needs.gradients or self._needs.curvature, "gradients=True")
        return self._of_target(self._record.gradients, self._name(layer))

    def curvature(self, layer: Layer | None = None) -> Float[Tensor, "B K h w"]:
        """The Hessian of the target's score at that output, times the output, in the same layout."""
        self._require(self._needs.curvature, "curvature=True")
        return self._of_target(self._record.curvatures, self._name(layer))

    @property
    def image_gradient(self) -> Float[Tensor, "B C H W"]:
        """The gradient of the target's score at the images, float32 or better."""
        self._require(self._needs.image_gradient, "image_gradient=True")
        return wide(self._record.gradients[IMAGES][self.index])

    @property
    def attention(self) -> Sequence[AttentionLayer]:
        """The attention of every layer, in order of execution; with gradients of the target's score, if declared."""
        tracked = self._needs.attention_gradients
        self._require(self._needs.attention or tracked, "attention=True")
        if not self._record.attention:
            raise NoAttentionError(
                "no attention was seen in this model's forward; use a method for feature maps, such as grad-cam"
            )
        if not tracked:
            return self._record.attention
        gradients = (self._record.gradients[ATTENTION.format(i)] for i in range(len(self._record.attention)))
        bound = zip(self._record.attention, gradients, strict=True)
        return [layer.with_gradient(gradient[self.index]) for layer, gradient in bound]

    @property
    def gates(self) -> Sequence[Gated]:
        """The features and values of the gates that were declared, in that order, float32 or better."""
        self._require(bool(self._needs.gates), "gates=(gate, ...)")
        return [Gated(*map(wide, self._record.gates[gate])) for gate in self._needs.gates]

    @property
    def block_attention(self) -> Sequence[AttentionLayer]:
        """The attention of each block of `block_scores`, with the gradient of that block's own score."""
        self._require(bool(self._needs.block_scores), "block_scores=adapter.blocks")
        own = self._record.own_gradients[self._needs.block_scores]
        return [self._record.attention[number].with_gradient(gradient[self.index]) for number, gradient in own]

    @property
    def rivals(self) -> "list[Captured]":
        """The same pass for the other classes that were declared, the best first; fewer where the model has fewer.

        None where the target is not a class.
        """
        self._require(self._needs.rivals not in (0, ()), "rivals=N")
        known = self._record.rivals[self.index] if self.index < len(self._record.rivals) else {}
        return [self._view(self._needs, number) for number in known.get(self._needs.rivals, ())]

    @property
    def parts(self) -> "list[Captured]":
        """The views of the `parts` that were declared, in order."""
        return [self._view(part, self.index) for part in self._needs.parts]

    @property
    def model_score(self) -> ModelScorer:
        """Scores other images, [N,C,H,W] -> [N]: see `xai_core.perturb.ModelScorer`."""
        return self._passes.model_scorer.of_target(self.index)

    def partial_forward(self, layer: Layer | None = None) -> ModelScorer:
        """Return a scorer of activations [N,K,h,w] that replace a layer's output, -> [N] for the target.

        If possible, it runs only the part of the model after the layer. Prefix tokens keep their values.
        """
        return self._passes.partial_forward(self._name(layer)).of_target(self.index)

    def explain_images(self, images: Float[Tensor, "B C H W"], explainer: Explains) -> Float[Tensor, "B h w"]:
        """Explain other images for the same target, each in place of the batch's image with the same index."""
        return self._passes.explain_images(self.index, images, explainer)

    def shared_model(self) -> SharedModel:
        """Return a module that scores images with a graph, to differentiate and to hook: see `SharedModel`."""
        return self._passes.shared_model(self.index)

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Compute what `key` names, or give what was computed before in this pass, for whichever target."""
        if key not in self._record.shared:
            self._record.shared[key] = compute()
        return self._record.shared[key]

    def _view(self, needs: Needs, index: int) -> "Captured":
        return Captured(self._record, needs, self.adapter, self._passes, index)

    def _name(self, layer: Layer | None) -> str:
        if layer is None and len(self._layers) != 1:
            raise NotCapturedError(f"name one of the declared layers: {', '.join(self._layers) or 'none declared'}")
        name = self._layers[0] if layer is None else self.adapter.layer_name(layer)
        if name not in self._layers:
            raise NotCapturedError(f"layer {name!r} was not declared; this explainer declared {list(self._layers)}")
        return name

    def _of_target(self, tensors: Mapping[str, Tensor], name: str) -> Tensor:
        return wide(self.adapter.spatial(tensors[name][self.index], name))

    def _require(self, declared: bool, how: str) -> None:
        if not declared:
            what = how.partition("=")[0].replace("_", " ")
            raise NotCapturedError(f"this explainer's `needs` did not ask for {what}; declare `{how}`")
