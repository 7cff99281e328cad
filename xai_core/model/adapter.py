"""Adapters: descriptions of models for the engine, derived from one probe forward pass."""

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xai_core.errors import LayerError, UnsuitableError
from xai_core.model.layouts import Features, Layer, token_grid
from xai_core.model.probe import Probe
from xai_core.spec import close_names
from xai_core.targets.measures import at_least_float32
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
        self._names = {module: name for name, module in model.named_modules()}

    def __repr__(self) -> str:
        height, width = self.probe.size
        features = "no spatial features" if self.probe.last is None else f"last features {self.probe.last.layer!r}"
        return f"{type(self).__name__}({type(self.model).__name__}, images {height}x{width}, {features[:100]})"

    @classmethod
    def suits(cls, model: nn.Module, probe: Probe) -> bool:
        """Whether this adapter supports the model."""
        return True

    @property
    def default_layer(self) -> str:
        """Name of the layer that methods use by default: the last spatial features."""
        if self.probe.last is None:
            raise LayerError(
                "this model has no layer with spatial features; choose a layer with `layer=`, or use larger images"
            )
        return self.probe.last.layer

    @property
    def grid(self) -> tuple[int, int]:
        """The (h, w) of the default layer's cells."""
        return self.features(self.default_layer).grid

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
                    f"the module {type(layer).__name__} passed as layer is not part of this model; "
                    "pass the layer's name (a string), which also works on copies of the model"
                )
            return self._names[layer]
        name = str(layer)
        try:
            return self._names[self.model.get_submodule(name)]
        except AttributeError:
            known = sorted(self.probe.features)
            close = close_names(name, known, cutoff=0.3) or known[-3:]
            default = "" if self.probe.last is None else f"; the default layer is {self.default_layer!r}"
            raise LayerError(
                f"the model has no layer {name!r}; layers with spatial output include {', '.join(map(repr, close))}"
                f"{default}"
            ) from None

    def features(self, layer: str) -> Features:
        """Return the layout of a layer's output.

        Raises
        ------
        LayerError
            If the output is not spatial.
        """
        if layer not in self.probe.features:
            raise LayerError(
                f"layer {layer!r} has no spatial output, or does not run; "
                f"expected a layer that returns a feature map or tokens, such as {self.default_layer!r}"
            )
        return self.probe.features[layer]

    def spatial(self, tensor: Tensor, layer: str) -> Float[Tensor, "B K h w"]:
        """Return a layer's output as a feature map [B,K,h,w], without prefix tokens."""
        features = self.features(layer)
        match features.layout:
            case "NCHW":
                return tensor
            case "NHWC":
                return tensor.permute(0, 3, 1, 2)
            case "LNC":
                tensor = tensor.transpose(0, 1)
        return tensor[:, features.prefix :].transpose(1, 2).unflatten(2, features.grid)

    def substitute(self, tensor: Tensor, maps: Float[Tensor, "B K h w"], layer: str) -> Tensor:
        """Return a layer's output with the values that `spatial` returns replaced by `maps`."""
        features = self.features(layer)
        maps = maps.to(tensor.dtype)
        match features.layout:
            case "NCHW":
                return maps
            case "NHWC":
                return maps.permute(0, 2, 3, 1)
        tokens = maps.flatten(2).transpose(1, 2)
        if features.layout == "LNC":
            return torch.cat([tensor[: features.prefix], tokens.transpose(0, 1)])
        return torch.cat([tensor[:, : features.prefix], tokens], 1)

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

    def tokens(self, count: int) -> tuple[tuple[int, int], int]:
        """Return the (h, w) and the number of prefix tokens of a sequence of `count` tokens.

        Raises
        ------
        UnsuitableError
            If the tokens do not form a grid over the image.
        """
        known = [(f.prefix, f.grid) for f in self.probe.features.values() if f.tokens == count]
        if known:
            prefix, grid = min(known)
            return grid, prefix
        layout = token_grid(count, self.probe.size, tuple(f.grid for f in self.probe.features.values()))
        if layout is None:
            height, width = self.probe.size
            raise UnsuitableError(
                f"expected prefix tokens followed by h * w patch tokens for images of {height}x{width} pixels, "
                f"got {count} tokens; use a method for feature maps, such as grad-cam, and choose a layer"
            )
        return layout

    @property
    def head_weights(self) -> Float[Tensor, "classes K"]:
        """Weights of the head, if it is one linear layer on the spatial mean of the last features.

        Raises
        ------
        UnsuitableError
            If the head is different.
        """
        if self.probe.head is None:
            raise UnsuitableError(
                "cam requires a model whose head is one linear layer on the spatial mean of the last features; "
                "use grad-cam, which equals cam on such models"
            )
        weight = self.model.get_submodule(self.probe.head).weight
        assert isinstance(weight, Tensor)
        return at_least_float32(weight.detach())

    @property
    def blocks(self) -> tuple[Features, ...]:
        """Output tokens of each block with attention, in order of execution.

        Raises
        ------
        UnsuitableError
            If an attention layer has no block of its own, or if later layers depend on more than the block's tokens.
        """
        if not self.probe.blocks:
            raise UnsuitableError(
                "this method requires a transformer in which each block contains one attention with a residual "
                "connection and passes all tokens to the next block; token pooling, windowed attention, class "
                "attention and no_grad blocks are not supported; use generic-attention, or a method for feature "
                "maps, such as grad-cam"
            )
        return self.probe.blocks

    @property
    def readout(self) -> slice:
        """Tokens that the head reads.

        Raises
        ------
        UnsuitableError
            If the head does not read tokens.
        """
        raise UnsuitableError(
            "the head of this model reads a feature map instead of tokens, so no attention row corresponds to the "
            "output; use a method for feature maps, such as grad-cam"
        )


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
    def default_layer(self) -> str:
        """Name of the layer with the last patch tokens that influence the output.

        If the head reads patch tokens (mean pooling), these are the last tokens. If it reads a class token only, the
        gradient of the last patch tokens is zero. Then these are the tokens that the last attention mixes.
        """
        assert self.probe.last is not None
        if self.probe.mixed is None or self.reads_patches:
            return self.probe.last.layer
        return self.probe.mixed

    @property
    def reads_patches(self) -> bool:
        """Whether the head reads patch tokens directly."""
        assert self.probe.last is not None
        if self.probe.readout is None:
            return self.probe.last.prefix == 0
        return any(self.probe.readout.reads[self.probe.last.prefix :])

    @property
    def readout(self) -> slice:
        """Tokens that the head reads: the class token (the first), or all patch tokens, with any pooling."""
        last, readout = self.probe.last, self.probe.readout
        assert last is not None
        if not self.reads_patches:
            return slice(0, 1)
        if readout is None or readout.alike:
            return slice(0 if readout is None or readout.reads[0] else last.prefix, last.tokens)
        return slice(0, 1) if last.prefix and readout.reads[0] else slice(last.prefix, last.tokens)


def adapt(model: nn.Module, probe: Probe) -> ModelAdapter:
    """Return the first built-in adapter that supports the model: for tokens, for feature maps, or for any model."""
    candidates: list[type[ModelAdapter]] = [TokenAdapter, ConvolutionalAdapter, ModelAdapter]
    return next(adapter(model, probe) for adapter in candidates if adapter.suits(model, probe))
