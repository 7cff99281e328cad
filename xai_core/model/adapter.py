"""The description of a model for the engine, derived from one probe forward pass."""

from dataclasses import replace
from typing import Any, ClassVar

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from xai_core.errors import LayerError, UnsuitableError
from xai_core.model.attention_path import AttentionPath
from xai_core.model.attention_problems import no_rows
from xai_core.model.decoder import Decoder
from xai_core.model.feature_maps import to_maps, with_maps
from xai_core.model.layer_names import LayerNames
from xai_core.model.layouts import Features, Layer, may_have
from xai_core.model.locations import Locations
from xai_core.model.probe import Probe
from xai_core.model.runtimes import require_layers, require_plain_modules
from xai_core.model.sites import Site
from xai_core.precision import at_least_float32
from xai_core.targets.score_reader import ScoreReader


class ModelAdapter:
    """Description of a model for the engine, for images of one size.

    A plugin may provide subclasses. `suits` selects the models that a subclass supports. A subclass may
    override every other member.

    Parameters
    ----------
    model
        The model, without wrappers (`torch.compile`, `DataParallel`).
    probe
        The result of one forward pass of one image.
    """

    kind: ClassVar[str] = "other"

    def __init__(self, model: nn.Module, probe: Probe) -> None:
        self.model, self.probe = model, probe
        self._layers = LayerNames(model, probe)

    def __repr__(self) -> str:
        size = "x".join(map(str, self.probe.size))
        default = self.probe.default
        features = "no spatial features" if default is None else f"default layer {default.layer!r}"
        return f"{type(self).__name__}({type(self.model).__name__}, images {size}, {features[:100]})"

    @classmethod
    def suits(cls, model: nn.Module, probe: Probe) -> bool:
        """Return whether this adapter supports the model."""
        return True

    @property
    def default_layer(self) -> str:
        """Name of the layer that methods use by default: the last spatial features that influence the scores."""
        if self.probe.default_layer is None:
            require_layers(self.model)
            if self.probe.saturated:
                raise LayerError(
                    "no default layer is known, because the gradients of the scores of detections are zero in the "
                    "first image. The scores may be rounded to 0 or 1. "
                    f"{self._layers.advice('Choose a layer with `layer=`')}, or use a method without layers, such as "
                    "occlusion"
                )
            raise LayerError(
                "no layer with spatial features lies on every path from the images to the scores; "
                f"{self._layers.advice('choose a layer with `layer=`')}, or use larger images"
            )
        return self.probe.default_layer

    @property
    def grid(self) -> tuple[int, ...]:
        """The (h, w) of the default layer's cells. For volumes, (d, h, w)."""
        return self.features(self.default_layer).grid

    def layer_name(self, layer: Layer) -> str:
        """Return the name of a layer that is given by name or as a module.

        Raises
        ------
        LayerError
            If the model has no such layer.
        """
        return self._layers.name(layer, lambda: self.default_layer)

    def site(self, layer: str) -> Site:
        """Return the tensor that a layer name refers to.

        Raises
        ------
        LayerError
            If the layer does not run, or returns no tensor.
        """
        return self._layers.site(layer)

    def features(self, layer: str) -> Features:
        """Return the layout of a layer's output.

        Raises
        ------
        LayerError
            If the output is not spatial.
        """
        return self._layers.features(layer)

    def spatial(self, tensor: Tensor, layer: str) -> Shaped[Tensor, "B K *grid"]:
        """Return a layer's output as a feature map [B,K,h,w] or [B,K,d,h,w], without elements that have no location."""
        return to_maps(tensor, self.features(layer))

    def substitute(self, tensor: Tensor, maps: Float[Tensor, "B K *grid"], layer: str) -> Tensor:
        """Return a layer's output in which `maps` replace the values that `spatial` returns."""
        return with_maps(tensor, maps, self.features(layer))

    def scores(self, output: Any) -> Float[Tensor, "B K"]:
        """Return the class scores in a model's output: its `logits`, or the only tensor with one row per image.

        Raises
        ------
        ModelOutputError
            If the output contains no such tensor, or more than one.
        """
        return self.probe.scores.read(output)

    @property
    def score_reader(self) -> ScoreReader:
        """The function that returns the class scores in an output, as targets use it."""
        return ScoreReader(self.scores, self.probe.scores, self.probe.detections)

    def tokens(self, count: int) -> Locations:
        """Return the grid of a sequence of `count` tokens, and the token of each cell.

        Raises
        ------
        UnsuitableError
            If the tokens have no locations in the image.
        """
        sites = [site for site in self.probe.on_path if may_have(site.shape, count)]
        for site in sorted(sites, key=lambda site: (len(site.shape) > 3, site != self.probe.default)):
            features = self.probe.layouts.of(site)
            if features is not None and features.count == count and (features.is_sequence or features.start == 0):
                return Locations(features.grid, features.elements)
        size = "x".join(map(str, self.probe.size))
        raise UnsuitableError(
            f"the {count} tokens of this model do not form a known grid over an image of {size} pixels; "
            f"{self._layers.advice('use a method for feature maps, such as grad-cam, and choose a layer')}"
        )

    @property
    def head_weights(self) -> Float[Tensor, "classes K"]:
        """Weights of the classification head, if it is one linear layer on the spatial mean of the last features.

        Raises
        ------
        UnsuitableError
            If the classification head is different.
        """
        if self.probe.head is None:
            raise UnsuitableError(
                "cam requires a model whose classification head is one linear layer on the spatial mean of the last "
                "features. Use grad-cam, which supports any classification head"
            )
        require_plain_modules(
            self.model, "cam", "grad-cam, whose map equals the map of cam for this model", weights=True
        )
        weight = self.model.get_submodule(self.probe.head).weight
        assert isinstance(weight, Tensor)
        return at_least_float32(weight.detach())

    @property
    def blocks(self) -> tuple[Features, ...]:
        """Output tokens of each transformer block, in order of execution.

        Raises
        ------
        UnsuitableError
            If an attention layer has no block of its own, or if later layers depend on more than the block's tokens.
        """
        if not self.probe.blocks:
            raise UnsuitableError(
                "this method requires a transformer in which each block contains one attention layer with a residual "
                "connection and passes all tokens to the next block. Token pooling, windowed attention, class "
                "attention, parallel blocks and no_grad blocks are not supported. Use generic-attention, or a method "
                "for feature maps, such as grad-cam"
            )
        return self.probe.blocks

    def require_token_subsets(self, method: str) -> None:
        """Require that the transformer blocks can run on some of the patch tokens, as in `Captured.subset_forward`.

        Raises
        ------
        UnsuitableError
            If the model has no such blocks, or if the order of the tokens affects the scores. The message names
            `method`.
        """
        problem = self.probe.token_subsets.problem
        if problem:
            raise UnsuitableError(
                f"{method} requires {problem}, because it drops tokens. Windowed attention, relative positions and "
                "rotary positions are not supported. Use rise or score-cam, which hide pixels"
            )

    def attention_path(self, module: Layer | None = None) -> AttentionPath:
        """Return the attention layers on the path from the images to the scores, in the whole model or in one module.

        Raises
        ------
        LayerError
            If the model has no such module.
        NoAttentionError
            If there is no attention layer on this path.
        UnsuitableError
            If the classification head does not read tokens.
        """
        if module is not None:
            return self.probe.attention.of(self.layer_name(module))
        readout = self.readout
        return replace(self.probe.attention.of(), readout=readout)

    @property
    def decoder(self) -> Decoder | None:
        """The decoder with which queries attend to the last tokens, as in DETR. None if the model has no such decoder.

        Models are compared with the properties of `Decoder`. If one of these is uncertain, this is None.
        """
        return self.probe.attention.decoder

    @property
    def readout(self) -> tuple[float, ...]:
        """The weight of each of the last tokens in the output. The weights sum to one.

        Raises
        ------
        UnsuitableError
            If the classification head does not read tokens.
        LayerError
            If no layer can be observed.
        """
        require_layers(self.model)
        raise UnsuitableError(no_rows(self.probe.last))
