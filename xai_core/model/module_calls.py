"""The module calls of one forward: what each gave, and what they show together of how the model makes its scores."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from xai_core.errors import InputShapeError
from xai_core.model.attention import AttentionLayer
from xai_core.model.autograd_graph import ways
from xai_core.model.layouts import Features, Size, features_of
from xai_core.outputs import first_tensor


@dataclass(frozen=True)
class Readout:
    """How the output depends on the last tokens: which it reads, and whether it treats those alike (a mean)."""

    reads: tuple[bool, ...]
    alike: bool


@dataclass
class _Call:
    """A module call that is under way: its input, and that of the last linear map inside it so far."""

    module: nn.Module
    input: Tensor | None
    linear_input: Tensor | None = None


class ModuleCalls:
    """Follows module calls and attention through one forward, and says what they show of the model."""

    def __init__(self, model: nn.Module, size: Size) -> None:
        self.size = size
        self.names = {module: name for name, module in model.named_modules()}
        self.features: dict[str, Features] = {}
        self.tensors: dict[str, Tensor] = {}
        self.sizes: dict[str, int] = {}
        self.runs: Counter[str] = Counter()
        self._linear: dict[str, tuple[Tensor, Tensor]] = {}
        self._made: dict[str, Node | None] = {}
        pooling = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
        self._pools = {name for module, name in self.names.items() if isinstance(module, pooling) or not name}
        self._calls: list[_Call] = []
        self._made_by: dict[int, str] = {}
        self._mixed: list[tuple[int, str]] = []
        self._around: list[tuple[int, list[str]]] = []
        self._given: dict[int, list[tuple[str, Tensor]]] = {}
        self._channels_known = False
        self.class_attention = False

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Note a call that begins; refuse images of another number of channels than the first convolution takes."""
        given = first_tensor([*args, *kwargs.values()])
        if isinstance(module, nn.Conv2d) and given is not None and not self._channels_known:
            self._channels_known = True
            if given.ndim == 4 and given.shape[1] != module.in_channels:
                raise InputShapeError(
                    f"the model's first convolution takes {module.in_channels} channels, the images give it "
                    f"{given.shape[1]}; expected images [B, {module.in_channels}, H, W]"
                )
        if isinstance(module, nn.Linear) and given is not None and given.ndim == 3:
            for call in self._calls:
                call.linear_input = given
        if given is not None and given.ndim == 3:
            self._given.setdefault(len(self._around), []).append((self.names[module], given))
        self._calls.append(_Call(module, given))

    def leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Note a call that ends, and what it gave."""
        given = self._calls.pop().input
        self.runs[self.names[module]] += 1
        tensor = first_tensor(output)
        if tensor is None:
            return
        if isinstance(module, nn.Linear) and given is not None and given.ndim == 2:
            self._linear[self.names[module]] = given, tensor
        name = self.names[module]
        self.sizes.pop(name, None)
        self.sizes[name] = tensor.numel() * tensor.element_size()
        features = features_of(tensor, self.size, name, tuple(f.grid for f in self.features.values()))
        if features is None:
            return
        self.features.pop(name, None)
        self.features[name] = features
        self.tensors[name] = tensor
        self._made[name] = tensor.grad_fn
        if features.sequence:
            self._made_by[id(tensor)] = name

    def here(self) -> str:
        """The name of the module whose call is the innermost one under way."""
        return self.names[self._calls[-1].module] if self._calls else ""

    def attend(self, layer: AttentionLayer) -> None:
        """The tokens that attention mixes are the input of the projections: the last linear map before it."""
        self.class_attention |= layer.of_one_query
        self._around.append((layer.keys, [self.names[call.module] for call in self._calls]))
        owners = [call for call in self._calls if any(True for _ in call.module.children())]
        for call in reversed(owners):
            for tokens in (call.linear_input, call.input):
                if id(tokens) in self._made_by:
                    self._mixed.append((layer.keys, self._made_by[id(tokens)]))
                    return

    def passed(self, scores: Tensor | None, source: Node | None) -> Mapping[Node, bool]:
        """What lies on the way from the image to the scores, and whether all ways lead through it; see `ways`."""
        end = None if scores is None else scores.grad_fn
        return ways(end, source) if end and source else {}

    def blocks(self, passed: Mapping[Node, bool]) -> tuple[Features, ...]:
        """The tokens of each attention's own block; none where some attention has no such block, or they differ.

        Where no module gives them, since residuals are added outside of modules, they are the last that a module is
        given before the next attention.
        """
        whole = {node for node in passed if passed[node]}
        inside = Counter(name for _, names in self._around for name in names)
        found = []
        for number, (tokens, names) in enumerate(self._around, 1):
            own = [self.features[name] for name in names if inside[name] == 1 and name in self.features]
            given = [f for f in self._features_given(number, whole) if f.tokens == tokens]
            own = [f for f in own if f.sequence and f.tokens == tokens and self._made[f.layer] in whole]
            found += own[:1] or given[-1:]
        alike = len({(f.layout, f.tokens, f.channels) for f in found}) == 1
        return tuple(found) if alike and len(found) == len(self._around) else ()

    def _features_given(self, attentions: int, whole: Collection[Node]) -> Iterator[Features]:
        """The tokens that modules are given after so many attentions, where all ways lead through them."""
        grids = tuple(f.grid for f in self.features.values())
        for name, tensor in self._given.get(attentions, ()):
            features = features_of(tensor, self.size, name, grids) if tensor.grad_fn in whole else None
            if features is not None and self.runs[name] == 1:
                yield replace(features, given=True)

    def last(self, scores: Tensor | None, passed: Mapping[Node, bool]) -> Features | None:
        """The last features with more than one place that the scores come from; pooling over places comes after them.

        Of those, the last that all ways from the image to the scores lead through: not a branch, a gate or a table.
        Where the only such ones are a stem, on a finer grid or in the first quarter of the way, a branch.
        """
        spatial = [f for f in self.features.values() if f.places > 1 and f.layer not in self._pools]
        connected = [f for f in spatial if self._made[f.layer] in passed] or spatial
        if scores is not None and scores.ndim == 4:
            return self._deepest(connected, scores)
        late = {node for node in [*passed][: 3 * len(passed) // 4] if passed[node]}
        whole = [f for f in connected if self._made[f.layer] in late]
        if whole and whole[-1].places <= connected[-1].places:
            return whole[-1]
        return connected[-1] if connected else None

    def _deepest(self, spatial: list[Features], scores: Tensor) -> Features | None:
        """Where there are scores for each pixel: the last on the coarsest grid that are not themselves scores.

        A grid on which pooling came first, as in a pyramid of pools, does not count.
        """
        first = {f.grid: f.layer for f in reversed(self.features.values())}
        spatial = [f for f in spatial if first[f.grid] not in self._pools]
        features = [f for f in spatial if not self._are_scores(f, scores)] or spatial
        coarsest = min((f.places for f in features), default=0)
        return next((f for f in reversed(features) if f.places == coarsest), None)

    def _are_scores(self, features: Features, scores: Tensor) -> bool:
        """Whether each channel is a class: the scores of a class come from that channel alone."""
        if features.channels != scores.shape[1] or not scores.requires_grad:
            return False
        tensor = self.tensors[features.layer]
        (gradient,) = torch.autograd.grad(scores[:, 0].sum(), tensor, retain_graph=True, allow_unused=True)
        places = {"NCHW": (0, 2, 3)}.get(features.layout, tuple(range(tensor.ndim - 1)))
        return gradient is None or int((gradient.abs().amax(places) > 0).sum()) <= 1

    def readout(self, last: Features, scores: Tensor | None) -> Readout | None:
        """How the scores read the last tokens."""
        rows = _gradient(scores, self.tensors[last.layer])
        if rows is None:
            return None
        rows = rows.flatten(0, 1)
        reads = rows.abs().amax(1) > 0
        mean = rows[reads].mean(0)
        alike = (rows[reads] - mean).abs().amax() <= 1e-3 * mean.abs().amax()
        return Readout(tuple(reads.tolist()), bool(alike.tolist()))

    def head(self, last: Features, scores: Tensor | None) -> str | None:
        """The linear layer that gives the scores from the mean of the last features over places."""
        places = {"NCHW": (2, 3), "NHWC": (1, 2), "NLC": (1,), "LNC": (0,)}[last.layout]
        if last.prefix or scores is None:
            return None
        mean = self.tensors[last.layer].mean(places)
        for name, (given, made) in self._linear.items():
            if made is scores and given.shape == mean.shape and torch.allclose(given, mean, rtol=1e-3, atol=1e-5):
                return name
        return None

    def mixed(self, last: Features, scores: Tensor | None) -> str | None:
        """The tokens that the last attention mixes; where none was seen, the last whose patches the scores use."""
        seen = next((name for keys, name in reversed(self._mixed) if keys == last.tokens), None)
        if seen is not None or not last.prefix:
            return seen
        shape = self.tensors[last.layer].shape
        for name in reversed([name for name, tensor in self.tensors.items() if tensor.shape == shape]):
            gradient = _gradient(scores, self.tensors[name])
            if gradient is not None and bool(gradient.flatten(0, 1)[last.prefix :].any().tolist()):
                return name
        return None


def _gradient(scores: Tensor | None, features: Tensor) -> Tensor | None:
    """The gradient of the highest score at features, or None where there is none, or it is zero everywhere.

    It is zero where the head is, as some models are initialized.
    """
    if scores is None or not scores.requires_grad or not features.requires_grad:
        return None
    (gradient,) = torch.autograd.grad(scores.amax(), features, retain_graph=True, allow_unused=True)
    return gradient if gradient is not None and bool(gradient.any().tolist()) else None
