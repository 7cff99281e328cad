"""Records the module calls of one forward pass, and derives from them how the model computes its scores."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from xai_core.errors import InputShapeError
from xai_core.model.attention import AttentionLayer
from xai_core.model.autograd_graph import dominators
from xai_core.model.layouts import Features, Size, features_of
from xai_core.outputs import first_tensor


@dataclass(frozen=True)
class Readout:
    """Dependence of the output on the last tokens.

    Attributes
    ----------
    reads
        For each token, whether the output depends on it.
    alike
        Whether the output treats all tokens that it reads alike, as a mean does.
    """

    reads: tuple[bool, ...]
    alike: bool


@dataclass
class _Call:
    """A module call in progress: its input, and the input of the last linear layer inside it so far."""

    module: nn.Module
    input: Tensor | None
    linear_input: Tensor | None = None


class ModuleCalls:
    """Records module calls and attention during one forward pass of one image.

    Parameters
    ----------
    model
        The model.
    size
        (H, W) of the image.

    Attributes
    ----------
    features
        Layouts of the spatial outputs, by layer, in the order in which the calls ended.
    tensors
        The same outputs.
    sizes
        The number of bytes of every layer's output.
    runs
        The number of calls of every layer.
    class_attention
        Whether an attention layer has one query, such as a class token, and several keys.
    """

    def __init__(self, model: nn.Module, size: Size) -> None:
        self.size = size
        self.names = {module: name for name, module in model.named_modules()}
        self.features: dict[str, Features] = {}
        self.tensors: dict[str, Tensor] = {}
        self.sizes: dict[str, int] = {}
        self.runs: Counter[str] = Counter()
        self.class_attention = False
        pooling = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
        self._pools = {name for module, name in self.names.items() if isinstance(module, pooling) or not name}
        self._linear: dict[str, tuple[Tensor, Tensor]] = {}  # input and output of linear layers on [1,K]
        self._nodes: dict[str, Node | None] = {}  # autograd node of each spatial output
        self._calls: list[_Call] = []  # in progress, outermost first
        self._producers: dict[int, str] = {}  # layer that returned the tokens with this id
        self._mixed: list[tuple[int, str]] = []  # for each attention, its number of keys and the layer of its tokens
        self._around: list[tuple[int, list[str]]] = []  # for each attention, its number of keys and the modules around
        self._inputs: dict[int, list[tuple[str, Tensor]]] = {}  # module inputs by the number of attentions before
        self._channels_known = False

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Record the start of a call.

        Raises
        ------
        InputShapeError
            If the images have another number of channels than the first convolution requires.
        """
        tensor = first_tensor([*args, *kwargs.values()])
        if isinstance(module, nn.Conv2d) and tensor is not None and not self._channels_known:
            self._channels_known = True
            if tensor.ndim == 4 and tensor.shape[1] != module.in_channels:
                is_channels_last = tensor.shape[-1] == module.in_channels
                raise InputShapeError(
                    f"the model's first convolution requires {module.in_channels} channels, but the images have "
                    f"{tensor.shape[1]}; expected images [B, {module.in_channels}, H, W]"
                    + ("; for images [B, H, W, C], use `images.permute(0, 3, 1, 2)`" if is_channels_last else "")
                )
        if isinstance(module, nn.Linear) and tensor is not None and tensor.ndim == 3:
            for call in self._calls:
                call.linear_input = tensor
        if tensor is not None and tensor.ndim == 3:
            self._inputs.setdefault(len(self._around), []).append((self.names[module], tensor))
        self._calls.append(_Call(module, tensor))

    def leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Record the end of a call and its output."""
        call = self._calls.pop()
        name, tensor = self.names[module], first_tensor(output)
        self.runs[name] += 1
        if tensor is None:
            return
        if isinstance(module, nn.Linear) and call.input is not None and call.input.ndim == 2:
            self._linear[name] = call.input, tensor
        self.sizes.pop(name, None)
        self.sizes[name] = tensor.numel() * tensor.element_size()
        features = features_of(tensor, self.size, name, self._grids())
        if features is None:
            return
        self.features.pop(name, None)
        self.features[name] = features
        self.tensors[name] = tensor
        self._nodes[name] = tensor.grad_fn
        if features.is_sequence:
            self._producers[id(tensor)] = name

    def innermost(self) -> str:
        """Return the name of the innermost module whose call is in progress."""
        return self.names[self._calls[-1].module] if self._calls else ""

    def attend(self, layer: AttentionLayer) -> None:
        """Record an attention layer. Its tokens are the input of the last linear layer before the attention."""
        self.class_attention |= layer.of_one_query
        self._around.append((layer.keys, [self.names[call.module] for call in self._calls]))
        containers = [call for call in self._calls if any(True for _ in call.module.children())]
        for call in reversed(containers):
            for tokens in (call.linear_input, call.input):
                if id(tokens) in self._producers:
                    self._mixed.append((layer.keys, self._producers[id(tokens)]))
                    return

    def path(self, scores: Tensor | None, source: Node | None) -> Mapping[Node, bool]:
        """Return the operations between the image and the scores, and whether each is on every path between them."""
        end = None if scores is None else scores.grad_fn
        return dominators(end, source) if end and source else {}

    def blocks(self, path: Mapping[Node, bool]) -> tuple[Features, ...]:
        """Return the layout of each attention's block, or () if some attention has no block or the layouts differ.

        If residuals are added outside of modules, no module returns the block's tokens. Then the layout is that of the
        last module input before the next attention.
        """
        dominating = {node for node in path if path[node]}
        attentions_in = Counter(name for _, names in self._around for name in names)
        blocks = []
        for number, (tokens, names) in enumerate(self._around, 1):
            own = [self.features[name] for name in names if attentions_in[name] == 1 and name in self.features]
            own = [f for f in own if f.is_sequence and f.tokens == tokens and self._nodes[f.layer] in dominating]
            inputs = [f for f in self._input_features(number, dominating) if f.tokens == tokens]
            blocks += own[:1] or inputs[-1:]
        alike = len({(f.layout, f.tokens, f.channels) for f in blocks}) == 1
        return tuple(blocks) if alike and len(blocks) == len(self._around) else ()

    def _input_features(self, attentions: int, dominating: Collection[Node]) -> Iterator[Features]:
        """Yield layouts of module inputs between two attention layers, if every path to the scores contains them."""
        for name, tensor in self._inputs.get(attentions, ()):
            features = features_of(tensor, self.size, name, self._grids()) if tensor.grad_fn in dominating else None
            if features is not None and self.runs[name] == 1:
                yield replace(features, is_input=True)

    def _grids(self) -> tuple[Size, ...]:
        return tuple(features.grid for features in self.features.values())

    def last(self, scores: Tensor | None, path: Mapping[Node, bool]) -> Features | None:
        """Return the last features with more than one cell that the scores depend on, before spatial pooling.

        Features that lie on every path from the image to the scores are preferred over features in a branch, a gate or
        an embedding table. They must not lie in the first quarter of the path, or have a finer grid than the last
        features. Otherwise, the last features of any branch are returned.
        """
        spatial = [f for f in self.features.values() if f.cells > 1 and f.layer not in self._pools]
        connected = [f for f in spatial if self._nodes[f.layer] in path] or spatial
        if scores is not None and scores.ndim == 4:
            return self._coarsest(connected, scores)
        late = {node for node in [*path][: 3 * len(path) // 4] if path[node]}
        dominating = [f for f in connected if self._nodes[f.layer] in late]
        if dominating and dominating[-1].cells <= connected[-1].cells:
            return dominating[-1]
        return connected[-1] if connected else None

    def _coarsest(self, spatial: list[Features], scores: Tensor) -> Features | None:
        """Return the last features on the coarsest grid that are not scores, for a model with scores of each pixel.

        Grids whose first layer is a pooling layer, as in a pyramid of pools, are ignored.
        """
        first = {f.grid: f.layer for f in reversed(self.features.values())}
        spatial = [f for f in spatial if first[f.grid] not in self._pools]
        features = [f for f in spatial if not self._are_scores(f, scores)] or spatial
        coarsest = min((f.cells for f in features), default=0)
        return next((f for f in reversed(features) if f.cells == coarsest), None)

    def _are_scores(self, features: Features, scores: Tensor) -> bool:
        """Whether each channel is a class: the scores of a class depend on that channel alone."""
        if features.channels != scores.shape[1] or not scores.requires_grad:
            return False
        tensor = self.tensors[features.layer]
        (gradient,) = torch.autograd.grad(scores[:, 0].sum(), tensor, retain_graph=True, allow_unused=True)
        other_dims = {"NCHW": (0, 2, 3)}.get(features.layout, tuple(range(tensor.ndim - 1)))
        return gradient is None or int((gradient.abs().amax(other_dims) > 0).sum()) <= 1

    def readout(self, last: Features, scores: Tensor | None) -> Readout | None:
        """Return how the scores depend on the last tokens, or None if no gradient shows it."""
        gradient = _gradient(scores, self.tensors[last.layer])
        if gradient is None:
            return None
        rows = gradient.flatten(0, 1)
        reads = rows.abs().amax(1) > 0
        mean = rows[reads].mean(0)
        alike = (rows[reads] - mean).abs().amax() <= 1e-3 * mean.abs().amax()
        return Readout(tuple(reads.tolist()), bool(alike.tolist()))

    def head(self, last: Features, scores: Tensor | None) -> str | None:
        """Return the linear layer that computes the scores from the spatial mean of the last features, if any."""
        spatial_dims = {"NCHW": (2, 3), "NHWC": (1, 2), "NLC": (1,), "LNC": (0,)}[last.layout]
        if last.prefix or scores is None:
            return None
        mean = self.tensors[last.layer].mean(spatial_dims)
        for name, (features, output) in self._linear.items():
            same = output is scores and features.shape == mean.shape
            if same and torch.allclose(features, mean, rtol=1e-3, atol=1e-5):
                return name
        return None

    def mixed(self, last: Features, scores: Tensor | None) -> str | None:
        """Return the layer whose tokens the last attention mixes.

        If no attention was seen, return the last layer whose patch tokens the scores depend on, or None.
        """
        name = next((name for keys, name in reversed(self._mixed) if keys == last.tokens), None)
        if name is not None or not last.prefix:
            return name
        shape = self.tensors[last.layer].shape
        for name in reversed([name for name, tensor in self.tensors.items() if tensor.shape == shape]):
            gradient = _gradient(scores, self.tensors[name])
            if gradient is not None and bool(gradient.flatten(0, 1)[last.prefix :].any().tolist()):
                return name
        return None


def _gradient(scores: Tensor | None, features: Tensor) -> Tensor | None:
    """Return the gradient of the highest score with respect to features, or None if it is missing or zero everywhere.

    It is zero everywhere if the head is initialized with zeros.
    """
    if scores is None or not scores.requires_grad or not features.requires_grad:
        return None
    (gradient,) = torch.autograd.grad(scores.amax(), features, retain_graph=True, allow_unused=True)
    return gradient if gradient is not None and bool(gradient.any().tolist()) else None
