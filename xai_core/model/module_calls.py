"""Records the module calls of one forward pass, and derives from them how the model computes its scores."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from xai_core.errors import InputShapeError
from xai_core.model.attention import AttentionLayer
from xai_core.model.autograd_graph import same_value
from xai_core.model.layouts import Features, to_elements
from xai_core.model.site_graph import SiteGraph
from xai_core.model.site_layouts import SiteLayouts
from xai_core.model.sites import Site
from xai_core.outputs import Path, first_tensor, leaves_of, with_leaves


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
    """A module call in progress, and its input."""

    module: nn.Module
    input: Tensor | None


class ModuleCalls:
    """Records module calls and attention during one forward pass of one image.

    Each tensor that a module returns is replaced by a copy. Its node in the autograd graph shows what is computed from
    this tensor as the module's output, even if other modules return the same tensor.

    Parameters
    ----------
    model
        The model.
    always_gradients
        Whether gradients are enabled at the start of every module, even inside of `no_grad` blocks.

    Attributes
    ----------
    tensors
        The copies, by site, in order of execution.
    runs
        The number of calls of every layer.
    class_attention
        Whether an attention layer has one query, such as a class token, and several keys.
    """

    def __init__(self, model: nn.Module, always_gradients: bool = False) -> None:
        self._always_gradients = always_gradients
        self.names = {module: name for name, module in model.named_modules()}
        self.tensors: dict[Site, Tensor] = {}
        self.runs: Counter[str] = Counter()
        self.class_attention = False
        self._linear: dict[str, tuple[Tensor, Tensor]] = {}  # input and output of linear layers on [1,K]
        self._calls: list[_Call] = []  # in progress, outermost first
        self._around: list[tuple[int, list[str]]] = []  # for each attention, its number of keys and the modules around
        self._inputs: dict[int, list[tuple[str, Tensor]]] = {}  # module inputs by the number of attentions before
        self._channels_known = False

    @property
    def inputs(self) -> list[Tensor]:
        """The tokens that modules receive, in order of execution."""
        return [tensor for inputs in self._inputs.values() for _, tensor in inputs]

    @property
    def pools(self) -> frozenset[str]:
        """The names of adaptive pooling layers, and of the model itself."""
        pooling = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
        return frozenset(name for module, name in self.names.items() if isinstance(module, pooling) or not name)

    @property
    def sizes(self) -> dict[str, int]:
        """The number of bytes of the largest tensor that each layer returns, in the order in which the calls ended."""
        sizes: dict[str, int] = {}
        for site in self.tensors:
            sizes[site.layer] = max(site.nbytes, sizes.pop(site.layer, 0))
        return sizes

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Record the start of a call.

        Raises
        ------
        InputShapeError
            If the images have another number of channels than the first convolution requires.
        """
        if self._always_gradients:
            torch.set_grad_enabled(True)
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
        if tensor is not None and tensor.ndim == 3:
            self._inputs.setdefault(len(self._around), []).append((self.names[module], tensor))
        self._calls.append(_Call(module, tensor))

    def leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        """Record the end of a call, and return its output with copies of all tensors."""
        call = self._calls.pop()
        name = self.names[module]
        number, self.runs[name] = self.runs[name], self.runs[name] + 1
        copies: dict[Path, Tensor] = {}
        for path, tensor in leaves_of(output):
            if not (tensor.is_floating_point() or tensor.is_quantized) or tensor.is_nested:
                continue
            site = Site(name, number, path, tuple(tensor.shape), tensor.numel() * tensor.element_size())
            copies[path] = self.tensors[site] = tensor.clone()
        if isinstance(module, nn.Linear) and call.input is not None and call.input.ndim == 2 and () in copies:
            self._linear[name] = call.input, copies[()]
        return with_leaves(output, copies)

    def innermost(self) -> str:
        """Return the name of the innermost module whose call is in progress."""
        return self.names[self._calls[-1].module] if self._calls else ""

    def attend(self, layer: AttentionLayer) -> None:
        """Record an attention layer."""
        self.class_attention |= layer.of_one_query
        self._around.append((layer.keys, [self.names[call.module] for call in self._calls]))

    def blocks(self, graph: SiteGraph, layouts: SiteLayouts) -> tuple[Features, ...]:
        """Return the layout of each attention's block, or () if some attention has no block or the layouts differ.

        If residuals are added outside of modules, no module returns the block's tokens. Then the layout is that of the
        last module input before the next attention.
        """
        dominating = {site.layer: site for site, on_every in graph.sites if on_every and self.runs[site.layer] == 1}
        attentions_in = Counter(name for _, names in self._around for name in names)
        blocks: list[Features] = []
        for number, (tokens, names) in enumerate(self._around, 1):
            own = [layouts.of(dominating[name]) for name in names if attentions_in[name] == 1 and name in dominating]
            outputs = [f for f in own if f is not None and f.is_sequence and f.count == tokens]
            inputs = [f for f in self._input_features(number, graph, layouts) if f.count == tokens]
            blocks += outputs[:1] or inputs[-1:]
        alike = len({(f.layout, f.count, f.channels) for f in blocks}) == 1
        return tuple(blocks) if alike and len(blocks) == len(self._around) else ()

    def _input_features(self, attentions: int, graph: SiteGraph, layouts: SiteLayouts) -> Iterator[Features]:
        """Yield layouts of module inputs between two attention layers, if every path to the scores contains them."""
        for name, tensor in self._inputs.get(attentions, ()):
            if self.runs[name] != 1 or not graph.path.get(tensor.grad_fn):  # type: ignore[arg-type]
                continue
            outputs = (site for site in self.tensors if site.layer == name and site.shape == tuple(tensor.shape))
            features = next((layouts.of(site) for site in outputs), None)
            if features is not None:
                yield replace(features, is_input=True)

    def readout(self, last: tuple[Site, Features], graph: SiteGraph) -> Readout | None:
        """Return how the scores depend on the last tokens, or None if no gradient shows it."""
        gradient = graph.gradient(last[0])
        if gradient is None:
            return None
        rows = to_elements(gradient, last[1].layout)[0]
        reads = rows.abs().amax(1) > 0
        mean = rows[reads].mean(0)
        alike = (rows[reads] - mean).abs().amax() <= 1e-3 * mean.abs().amax()
        return Readout(tuple(reads.tolist()), bool(alike.tolist()))

    def head(self, last: tuple[Site, Features], scores: Tensor | None) -> str | None:
        """Return the linear layer that computes the scores from the spatial mean of the last features, if any."""
        site, features = last
        if features.cells != features.count or scores is None:
            return None
        mean = to_elements(self.tensors[site], features.layout).mean(1)
        for name, (pooled, output) in self._linear.items():
            same = same_value(output, scores) and pooled.shape == mean.shape
            if same and torch.allclose(pooled, mean, rtol=1e-3, atol=1e-5):
                return name
        return None
