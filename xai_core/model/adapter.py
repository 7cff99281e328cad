"""Adapters: descriptions of models for the engine, derived from one probe forward pass."""

from dataclasses import replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xai_core.errors import LayerError, UnsuitableError
from xai_core.model.attention_path import AttentionPath, no_rows
from xai_core.model.layouts import Features, Layer, cells, from_elements, may_have, to_elements
from xai_core.model.locations import Locations
from xai_core.model.probe import Probe
from xai_core.model.readout import Readout
from xai_core.model.runtimes import require_layers, require_plain_modules
from xai_core.model.sites import Site, split_call
from xai_core.precision import quantized_like
from xai_core.spec import close_names
from xai_core.targets.measures import at_least_float32
from xai_core.targets.score_reader import ScoreReader

NO_LAYER = (
    "no layer of this model has elements that can be located in the image; use a method without layers, such as rise, "
    "occlusion or saliency"
)


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
        self._names = {module: name for name, module in model.named_modules()}

    def __repr__(self) -> str:
        height, width = self.probe.size
        default = self.probe.default
        features = "no spatial features" if default is None else f"default layer {default.layer!r}"
        return f"{type(self).__name__}({type(self.model).__name__}, images {height}x{width}, {features[:100]})"

    @classmethod
    def suits(cls, model: nn.Module, probe: Probe) -> bool:
        """Whether this adapter supports the model."""
        return True

    @property
    def default_layer(self) -> str:
        """Name of the layer that methods use by default: the last spatial features that influence the scores."""
        if self.probe.default_layer is None:
            require_layers(self.model)
            raise LayerError(
                "no layer with spatial features lies on every path from the images to the scores; "
                f"{self._advice('choose a layer with `layer=`')}, or use larger images"
            )
        return self.probe.default_layer

    @property
    def grid(self) -> tuple[int, int]:
        """The (h, w) of the default layer's cells."""
        return self.features(self.default_layer).grid

    @property
    def _example_layer(self) -> str | None:
        """The default layer, or else the last layer with spatial features. None if there is neither."""
        layers, features = reversed(self.probe.spatial_layers), self.probe.features
        located = (name for name in layers if name in features and features[name].cells > 1)
        return self.probe.default_layer or next(located, None)

    def _advice(self, choose: str) -> str:
        """Return advice to choose a layer, with an example, or the advice for a model without such a layer."""
        return NO_LAYER if self._example_layer is None else f"{choose}, such as {self._example_layer!r}"

    def layer_name(self, layer: Layer) -> str:
        """Return the name of a layer that is given by name or as a module.

        Raises
        ------
        LayerError
            If the model has no such layer.
        """
        if isinstance(layer, nn.Module):
            if layer not in self._names:
                raise LayerError(
                    f"the module {type(layer).__name__} passed as layer is not part of this model. "
                    "Pass the layer's name (a string), which also works on copies of the model"
                )
            return self._names[layer]
        require_layers(self.model)
        name, (module, call) = str(layer), split_call(str(layer))
        try:
            module = self._names[self.model.get_submodule(module)]
        except AttributeError:
            known = sorted(self.probe.spatial_layers)
            close = ", ".join(map(repr, close_names(name, known, cutoff=0.3) or known[-3:]))
            default = "" if self.probe.default is None else f"; the default layer is {self.default_layer!r}"
            raise LayerError(
                f"the model has no layer {name!r}; "
                + (f"layers with spatial output include {close}{default}" if self._example_layer else NO_LAYER)
            ) from None
        runs = self.probe.runs.get(module, 0)
        if call is not None and call >= runs:
            raise LayerError(
                f"layer {module!r} runs {runs} times in one forward pass; expected a name from `{module}@0` to "
                f"`{module}@{runs - 1}`"
            )
        return module if call is None else f"{module}@{call}"

    def site(self, layer: str) -> Site:
        """Return the tensor that a layer name refers to.

        Raises
        ------
        LayerError
            If the layer does not run, or returns no tensor.
        """
        site = self.probe.site(layer)
        if site is None:
            why = "returns no tensor" if self.probe.runs.get(split_call(layer)[0]) else "does not run"
            raise LayerError(
                f"layer {layer!r} {why} in this model's forward pass; choose a layer that returns a tensor"
            )
        return site

    def features(self, layer: str) -> Features:
        """Return the layout of a layer's output.

        Raises
        ------
        LayerError
            If the output is not spatial.
        """
        features = self.probe.layouts.of(self.site(layer))
        if features is None:
            expected = self._advice("expected a feature map, or tokens that can be located in the image")
            raise LayerError(f"layer {layer!r} has no spatial output: {expected}")
        return features

    def spatial(self, tensor: Tensor, layer: str) -> Float[Tensor, "B K h w"]:
        """Return a layer's output as a feature map [B,K,h,w], without elements that have no location."""
        features = self.features(layer)
        in_order = features.elements == tuple(range(features.count))
        if features.layout == "NCHW" and in_order:
            return tensor
        if features.layout == "NHWC" and in_order:
            return tensor.permute(0, 3, 1, 2)
        return cells(to_elements(tensor, features.layout), features).transpose(1, 2).unflatten(2, features.grid)

    def substitute(self, tensor: Tensor, maps: Float[Tensor, "B K h w"], layer: str) -> Tensor:
        """Return a layer's output in which `maps` replace the values that `spatial` returns."""
        features = self.features(layer)
        if tensor.is_quantized:
            return quantized_like(self.substitute(tensor.dequantize(), maps, layer), tensor)
        of_cells = maps.to(tensor.dtype).flatten(2).transpose(1, 2)
        if features.start is not None:
            elements = to_elements(tensor, features.layout)
            before, after = elements[:, : features.start], elements[:, features.start + features.cells :]
            replaced = torch.cat([before, of_cells, after], 1)
        else:
            index = torch.tensor(features.elements, device=tensor.device)
            replaced = to_elements(tensor, features.layout).index_copy(1, index, of_cells)
        return from_elements(replaced, features.layout, tensor.shape)

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
        return ScoreReader(self.scores, self.probe.scores)

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
        height, width = self.probe.size
        raise UnsuitableError(
            f"the {count} tokens of this model do not form a known grid over an image of {height}x{width} pixels; "
            f"{self._advice('use a method for feature maps, such as grad-cam, and choose a layer')}"
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
                "attention and no_grad blocks are not supported. Use generic-attention, or a method for feature "
                "maps, such as grad-cam"
            )
        return self.probe.blocks

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


class ConvolutionalAdapter(ModelAdapter):
    """Adapter of models with feature maps, channels first or last: CNNs, hierarchical transformers, hybrids."""

    kind = "convolutional"

    @classmethod
    def suits(cls, model: nn.Module, probe: Probe) -> bool:
        """Whether the last features are a feature map."""
        return probe.last is not None and not probe.last.is_sequence


class TokenAdapter(ModelAdapter):
    """Adapter of models with tokens: vision transformers with or without a class token, and token mixers."""

    kind = "token"

    @classmethod
    def suits(cls, model: nn.Module, probe: Probe) -> bool:
        """Whether the last features are tokens."""
        return probe.last is not None and probe.last.is_sequence

    @property
    def readout(self) -> tuple[float, ...]:
        """The weight of each of the last tokens in the output. The weights sum to one."""
        last, readout = self.probe.last, self.probe.readout
        assert last is not None
        return (readout or Readout.usual(last.count, last.elements)).weights


def adapt(model: nn.Module, probe: Probe) -> ModelAdapter:
    """Return the first built-in adapter that supports the model: for tokens, for feature maps, or for any model."""
    candidates: list[type[ModelAdapter]] = [TokenAdapter, ConvolutionalAdapter, ModelAdapter]
    return next(adapter(model, probe) for adapter in candidates if adapter.suits(model, probe))
