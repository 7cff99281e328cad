"""Adapters: what the engine must know of a model, found out by looking at one forward."""

import difflib
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xai_core.errors import LayerError, ModelOutputError, UnsuitableError
from xai_core.model.layouts import Features, Layer, token_grid
from xai_core.model.probe import Probe
from xai_core.outputs import scores_of
from xai_core.targets.target import wide


class ModelAdapter:
    """What the engine must know of a model, for images of one size.

    A plugin may ship its own: `suits` says for which models, and whatever is overridden is used instead.

    Parameters
    ----------
    model
        The model, out of its wrappers (`torch.compile`, `DataParallel`).
    probe
        What one forward of one image showed.
    """

    kind: ClassVar[str] = "other"

    def __init__(self, model: nn.Module, probe: Probe) -> None:
        self.model, self.probe = model, probe
        self._names = {module: name for name, module in model.named_modules()}

    @classmethod
    def suits(cls, model: nn.Module, probe: Probe) -> bool:
        """Whether this adapter is for such a model."""
        return True

    @property
    def default_layer(self) -> str:
        """The name of the layer that maps are made at where the user names none: the last spatial features."""
        if self.probe.last is None:
            raise LayerError(
                "no spatial features were found in this model; name a layer with `layer=`, or make the images larger"
            )
        return self.probe.last.layer

    @property
    def grid(self) -> tuple[int, int]:
        """The (h, w) of the default layer."""
        return self.features(self.default_layer).grid

    def layer_name(self, layer: Layer) -> str:
        """The name of a layer given by name or as the module itself.

        Raises
        ------
        LayerError
            Where the model has no such layer.
        """
        if isinstance(layer, nn.Module):
            if layer not in self._names:
                raise LayerError(
                    f"the module {type(layer).__name__} given as layer is not part of this model; "
                    "give the layer's name, which copies of a model share"
                )
            return self._names[layer]
        name = str(layer)
        try:
            return self._names[self.model.get_submodule(name)]
        except AttributeError:
            known = sorted(self.probe.features)
            close = difflib.get_close_matches(name, known, n=3, cutoff=0.3) or known[-3:]
            raise LayerError(f"the model has no layer {name!r}; layers with spatial output include {close}") from None

    def features(self, layer: str) -> Features:
        """The layout of a layer's output.

        Raises
        ------
        LayerError
            Where it is not spatial.
        """
        if layer not in self.probe.features:
            raise LayerError(
                f"layer {layer!r} gives no features of places in the image (or does not run); "
                f"expected a feature map or tokens, as {self.default_layer!r} gives"
            )
        return self.probe.features[layer]

    def spatial(self, tensor: Tensor, layer: str) -> Float[Tensor, "B K h w"]:
        """The output of a layer as channels first on its grid, without prefix tokens."""
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
        """Put maps in the place of what `spatial` shows of a layer's output."""
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
        """The class scores in a model's output: a tensor [B,K], or the `logits` or first tensor of a container.

        Raises
        ------
        ModelOutputError
            Where there is no such tensor.
        """
        scores = scores_of(output)
        if scores is None or scores.ndim != 2:
            given = f"a tensor {list(scores.shape)}" if scores is not None else type(output).__name__
            raise ModelOutputError(
                f"expected class scores [B, K] from the model, got {given}; give `target=` a callable from the "
                "output to one number per image, or the Engine a `forward=` that returns the scores"
            )
        return scores

    def tokens(self, count: int) -> tuple[tuple[int, int], int]:
        """The (h, w) and the count of prefix tokens of a sequence of `count` tokens.

        Raises
        ------
        UnsuitableError
            Where the tokens do not cover the image as a grid.
        """
        seen = [(f.prefix, f.grid) for f in self.probe.features.values() if f.tokens == count]
        if seen:
            prefix, grid = min(seen)
            return grid, prefix
        found = token_grid(count, self.probe.size, tuple(f.grid for f in self.probe.features.values()))
        if found is None:
            raise UnsuitableError(f"{count} tokens do not form a grid over images of {self.probe.size}")
        return found

    @property
    def head_weights(self) -> Float[Tensor, "classes K"]:
        """The weights of the head, where it is one linear layer on the mean of the last features.

        Raises
        ------
        UnsuitableError
            Where it is not.
        """
        if self.probe.head is None:
            raise UnsuitableError(
                "cam is defined for models whose head is one linear layer on the mean of the last features, and this "
                "one's is not; use grad-cam, which is the same where cam is defined"
            )
        weight = self.model.get_submodule(self.probe.head).weight
        assert isinstance(weight, Tensor)
        return wide(weight.detach())

    @property
    def blocks(self) -> tuple[Features, ...]:
        """The tokens that each block with attention gives, in order of execution.

        Raises
        ------
        UnsuitableError
            Where not every attention is in a block of its own whose tokens all that comes after is made from.
        """
        if not self.probe.blocks:
            raise UnsuitableError(
                "not every attention of this model is in a module of its own that gives all tokens, with what went "
                "round the attention added, nor is the next module given them: it pools, attends in windows or from a "
                "class token alone, or cuts the graph (no_grad); use generic-attention, or a method for feature maps, "
                "such as grad-cam"
            )
        return self.probe.blocks

    @property
    def readout(self) -> slice:
        """The tokens that the head reads.

        Raises
        ------
        UnsuitableError
            Where the head does not read tokens.
        """
        raise UnsuitableError(
            "the head of this model reads a feature map, not tokens, so that no row of attention stands for the "
            "output; use a method for feature maps, such as grad-cam"
        )


class ConvolutionalAdapter(ModelAdapter):
    """Feature maps, channels first or last: CNNs, hierarchical transformers, hybrids."""

    kind = "convolutional"

    @classmethod
    def suits(cls, model: nn.Module, probe: Probe) -> bool:
        """Whether the last features are a map."""
        return probe.last is not None and not probe.last.sequence


class TokenAdapter(ModelAdapter):
    """Tokens: vision transformers with or without a class token, and token mixers."""

    kind = "token"

    @classmethod
    def suits(cls, model: nn.Module, probe: Probe) -> bool:
        """Whether the last features are tokens."""
        return probe.last is not None and probe.last.sequence

    @property
    def default_layer(self) -> str:
        """The last tokens that the output depends on place by place.

        Where the head reads patch tokens (mean pooling), those are the last ones. Where it reads a class
        token only, the gradient at the patches of the last tokens is zero, and the tokens that the last
        attention mixes are used.
        """
        assert self.probe.last is not None
        if self.probe.mixed is None or self.reads_patches:
            return self.probe.last.layer
        return self.probe.mixed

    @property
    def reads_patches(self) -> bool:
        """Whether the head reads patch tokens themselves."""
        assert self.probe.last is not None
        if self.probe.readout is None:
            return self.probe.last.prefix == 0
        return any(self.probe.readout.reads[self.probe.last.prefix :])

    @property
    def readout(self) -> slice:
        """The tokens that the head reads: the class token (the first), or all patches, by whatever pooling."""
        last, readout = self.probe.last, self.probe.readout
        assert last is not None
        if not self.reads_patches:
            return slice(0, 1)
        if readout is None or readout.alike:
            return slice(0 if readout is None or readout.reads[0] else last.prefix, last.tokens)
        return slice(0, 1) if last.prefix and readout.reads[0] else slice(last.prefix, last.tokens)


def adapt(model: nn.Module, probe: Probe) -> ModelAdapter:
    """Choose the first built-in adapter that suits the model: tokens, feature maps, anything."""
    candidates: list[type[ModelAdapter]] = [TokenAdapter, ConvolutionalAdapter, ModelAdapter]
    return next(adapter(model, probe) for adapter in candidates if adapter.suits(model, probe))
