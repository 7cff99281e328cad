"""What an explainer is given: a view of the record that shows what it declared, and nothing else."""

from collections.abc import Mapping, Sequence

from jaxtyping import Float
from torch import Tensor

from xai_core.adapter import ModelAdapter
from xai_core.attention import AttentionLayer, wide
from xai_core.capture import Capture, Layer, Record
from xai_core.errors import NoAttentionError, NotCapturedError
from xai_core.perturb import Scorer


class Captured:
    """An explainer's view of the record: what its `needs` declared, and nothing else.

    Attributes
    ----------
    images
        [B,C,H,W] as the model took them, on its device.
    output
        What the model gave.
    target
        The target, bound to this batch.
    adapter
        The model's adapter: token grid, rows that the head reads.
    """

    def __init__(self, record: Record, needs: Capture, adapter: ModelAdapter, scorer: Scorer) -> None:
        self.images, self.output, self.target = record.images, record.output, record.target
        self.adapter = adapter
        self._record, self._needs, self._scorer = record, needs, scorer
        self._layers = tuple(adapter.layer_name(layer) for layer in needs.activations)

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the captured layers, as declared."""
        return self._layers

    def activation(self, layer: Layer | None = None) -> Float[Tensor, "B K h w"]:
        """The output of a layer (default: the only one declared) as channels first, float32 or better."""
        return self._spatial(self._record.activations, layer)

    def gradient(self, layer: Layer | None = None) -> Float[Tensor, "B K h w"]:
        """The gradient of the target's score at that output, in the same layout."""
        if not self._needs.gradients:
            raise NotCapturedError("this explainer's `needs` did not ask for gradients; declare `gradients=True`")
        return self._spatial(self._record.gradients, layer)

    @property
    def attention(self) -> Sequence[AttentionLayer]:
        """The attention of every layer, in order of execution."""
        if not self._needs.attention:
            raise NotCapturedError("this explainer's `needs` did not ask for attention; declare `attention=True`")
        if not self._record.attention:
            raise NoAttentionError(
                "no attention was seen in this model's forward; use a method for feature maps, such as grad-cam"
            )
        return self._record.attention

    @property
    def score(self) -> Scorer:
        """Scores further images, [N,C,H,W] -> [N]: see `xai_core.perturb.Scorer`."""
        return self._scorer

    def _spatial(self, tensors: Mapping[str, Tensor], layer: Layer | None) -> Tensor:
        if layer is None and len(self._layers) != 1:
            raise NotCapturedError(f"name one of the declared layers: {', '.join(self._layers) or 'none declared'}")
        name = self._layers[0] if layer is None else self.adapter.layer_name(layer)
        if name not in self._layers:
            raise NotCapturedError(f"layer {name!r} was not declared; this explainer declared {list(self._layers)}")
        return wide(self.adapter.spatial(tensors[name], name))
