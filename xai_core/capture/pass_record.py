"""The result of one shared pass: outputs, targets, activations, gradients and attention."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float
from torch import Tensor

from xai_core.capture.needs import Rivals
from xai_core.model.attention import AttentionLayer
from xai_core.model.gates import Gate, Gated
from xai_core.model.layouts import Features
from xai_core.outputs import tensors_in
from xai_core.targets.target import BoundTarget


@dataclass(frozen=True)
class ImagesLeaf:
    """The images, if gradients are computed with respect to them."""

    def __str__(self) -> str:
        return "the images"


@dataclass(frozen=True)
class LayerLeaf:
    """The output of the layer with this module name, if gradients are computed with respect to it."""

    name: str

    def __str__(self) -> str:
        return f"layer {self.name!r}"


@dataclass(frozen=True)
class AttentionLeaf:
    """The output of an attention layer, if gradients are computed with respect to it.

    Attributes
    ----------
    number
        The index of the attention layer in the forward pass, from 0.
    name
        Description of the attention layer in error messages.
    """

    number: int
    name: str = field(compare=False, default="")

    def __str__(self) -> str:
        return self.name


Leaf = ImagesLeaf | LayerLeaf | AttentionLeaf
IMAGES = ImagesLeaf()


@dataclass(frozen=True)
class PassTargets:
    """The targets of a pass: the requested ones first, then the rival classes of each requested one.

    Attributes
    ----------
    all
        The V targets: T requested ones and their rivals.
    count
        T, the number of requested targets.
    several
        Whether the user requested T targets per image (maps are [B,T,...]), instead of one target (maps are [B,...]).
    rivals
        For each requested target, a mapping from each declared `Rivals` to the indices of these rivals in `all`.
    """

    all: Sequence[BoundTarget]
    count: int
    several: bool
    rivals: Sequence[Mapping[Rivals, Sequence[int]]]

    @property
    def requested(self) -> Sequence[BoundTarget]:
        """The T requested targets."""
        return self.all[: self.count]


@dataclass(frozen=True, eq=False)
class PassRecord:
    """The result of one pass for V targets.

    Attributes
    ----------
    images
        [B,C,H,W], as the model received them.
    output
        The model's output, without a graph.
    targets
        The V targets.
    activations
        Outputs of the captured layers, by module name.
    gradients
        [V,...] gradients of each target's score, by the tensor that they are taken with respect to.
    curvatures
        [V,...] products of the Hessian of each target's score with the activation.
    attention
        All attention layers, in order of execution.
    gates
        Features and values of the captured gates.
    block_gradients
        For each declared tuple of blocks, one pair per block: the block's attention, and a gradient. This is the
        gradient [V,...] of the block's own score with respect to the output of the attention. If one query pools the
        last tokens, there is one pair: the pooling of the tokens of all blocks, concatenated along the batch.
    shared
        Values that explainers compute once and share.
    """

    images: Float[Tensor, "B C *size"]
    output: Any
    targets: PassTargets
    activations: Mapping[str, Tensor]
    gradients: Mapping[Leaf, Tensor]
    curvatures: Mapping[Leaf, Tensor]
    attention: Sequence[AttentionLayer]
    gates: Mapping[Gate, Gated]
    block_gradients: Mapping[tuple[Features, ...], Sequence[tuple[AttentionLayer, Tensor]]]
    shared: dict[Hashable, Any] = field(default_factory=dict)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield every tensor that explainers can receive a view of, with its description."""
        parts = {
            "the images": self.images,
            "the model's output": self.output,
            "the target": [*self.targets.all],
            "the activations": self.activations,
            "the gradients": [self.gradients, self.block_gradients],
            "the curvatures": self.curvatures,
            "the gates": self.gates,
            "the attention": [layer._exposed for layer in [*self.attention, *self._block_attention()]],
            "results in `once`": self.shared,
        }
        return ((name, tensor) for name, part in parts.items() for tensor in tensors_in(part))

    def _block_attention(self) -> Iterator[AttentionLayer]:
        return (layer for gradients in self.block_gradients.values() for layer, _ in gradients)
