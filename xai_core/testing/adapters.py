"""Conformance checks of model adapters."""

import contextlib
import copy
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from xai_core.engine import Engine
from xai_core.errors import ConstantMapWarning, ModelOutputError, PluginWarning, UnsuitableError
from xai_core.model.adapter import ModelAdapter
from xai_core.model.layouts import Features
from xai_core.model.probe import Probe, probe
from xai_core.model.user_forward import call_model
from xai_core.outputs import first_tensor, tensors_in
from xai_core.plugins.hookspecs import hookimpl
from xai_core.testing.check import Check, build_checks, require
from xai_core.testing.class_metadata import declared_failures, require_docstring
from xai_core.testing.metric_case import GradientTimesImage
from xai_core.testing.networks import fallback_networks, networks, random_images
from xai_core.testing.side_effects import changes, model_snapshot


def check_adapter(
    adapter: type[ModelAdapter],
    model: nn.Module,
    images: Tensor | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> Iterator[Check]:
    """Return the conformance checks of a model adapter.

    Parameters
    ----------
    adapter
        The adapter class.
    model
        A model that the adapter supports, in evaluation mode.
    images
        [B,C,H,W], a batch of at least two images for the model. Default: random images [2,3,32,32].
    expected_failures
        Checks that the adapter cannot pass: a dict from the name of each check to the reason. It extends the class
        attribute `expected_failures`.
    """
    case = AdapterCase(adapter, model, random_images() if images is None else images)
    return build_checks(adapter.__name__, case, CHECKS, declared_failures(adapter, expected_failures))


@dataclass
class AdapterCase:
    """An adapter class with a model that it supports, and images for the model.

    Attributes
    ----------
    adapter_class
        The tested class.
    model
        A model that the adapter supports.
    images
        [B,C,H,W], the input of the model.
    """

    adapter_class: type[ModelAdapter]
    model: nn.Module
    images: Tensor

    @property
    def probe(self) -> Probe:
        """Probe of the model: names and shapes from one forward pass."""
        return probe(self.model, call_model, self.images)

    @property
    def adapter(self) -> ModelAdapter:
        """An adapter of the model."""
        return self.adapter_class(self.model, self.probe)

    def output(self) -> tuple[Tensor, object]:
        """Run the model and return the output of the default layer and the output of the model."""
        recorded: list[Tensor] = []

        def record(module: nn.Module, args: object, output: object) -> None:
            tensor = first_tensor(output)
            assert tensor is not None
            recorded.append(tensor.clone())

        handle = self.model.get_submodule(self.adapter.default_layer).register_forward_hook(record)
        with torch.no_grad():
            output = self.model(self.images)
        handle.remove()
        return recorded[-1], output


def has_docstring(case: AdapterCase) -> None:
    """The class has a docstring of its own."""
    require_docstring(case.adapter_class)


def supports_its_model(case: AdapterCase) -> None:
    """`suits` returns True for a model that the adapter supports."""
    result = case.adapter_class.suits(case.model, case.probe)
    require(
        result is True,
        f"`suits` must return True for {type(case.model).__name__}, the tested model; it returned {result!r}",
    )


def rejects_other_models(case: AdapterCase) -> None:
    """`suits` returns False for models that built-in adapters support, because plugins take precedence."""
    for label, model in {**networks(), **fallback_networks()}.items():
        if type(model) is type(case.model):
            continue
        probed = probe(model, call_model, random_images())
        result = case.adapter_class.suits(model, probed)
        require(
            result is False,
            f"`suits` must return False for {label}, which a built-in adapter supports; it returned {result!r}",
        )


def default_layer_is_valid(case: AdapterCase) -> None:
    """`default_layer` is the name of a module, and `features` returns Features for it."""
    layer = case.adapter.default_layer
    names = dict(case.model.named_modules())
    require(layer in names, f"`default_layer` must be the name of a module of the model; it is {layer!r}")
    features = case.adapter.features(layer)
    require(
        isinstance(features, Features),
        f"`features({layer!r})` must return xai_core.plugin.Features; it returned {features!r}",
    )


def spatial_is_channels_first(case: AdapterCase) -> None:
    """`spatial` converts the output of the default layer to [B,K,h,w], with (h,w) equal to `grid`."""
    adapter = case.adapter
    tensor, _ = case.output()
    maps = adapter.spatial(tensor, adapter.default_layer)
    expected = (len(case.images), *adapter.grid)
    require(
        maps.ndim == 4 and (maps.shape[0], *maps.shape[2:]) == expected,
        f"`spatial` must return [B,K,h,w] with (B,h,w) = {expected}; it returned {list(maps.shape)}",
    )


def substitute_inverts_spatial(case: AdapterCase) -> None:
    """`substitute` is the inverse of `spatial`."""
    adapter = case.adapter
    tensor, _ = case.output()
    layer = adapter.default_layer
    maps = adapter.spatial(tensor, layer)
    require(
        torch.equal(adapter.substitute(tensor, maps, layer), tensor),
        "`substitute(tensor, spatial(tensor, layer), layer)` must return a tensor equal to the first argument",
    )
    changed = adapter.spatial(adapter.substitute(tensor, maps + 1, layer), layer)
    require(
        torch.equal(changed, maps + 1), "`spatial(substitute(tensor, maps, layer), layer)` must return `maps` unchanged"
    )


def leaves_outputs_unchanged(case: AdapterCase) -> None:
    """`spatial`, `substitute` and `scores` do not write to the tensors that they receive."""
    adapter = case.adapter
    layer = adapter.default_layer
    tensor, output = case.output()
    maps = adapter.spatial(tensor.clone(), layer)
    shared = [tensor, maps, *tensors_in(output)]
    before = [each.clone() for each in shared]
    adapter.spatial(tensor, layer)
    adapter.substitute(tensor, maps, layer)
    with contextlib.suppress(ModelOutputError):
        adapter.scores(output)
    written = not all(map(torch.equal, shared, before))
    require(not written, "a method wrote in place to an output of the model or to feature maps; return a new tensor")


def scores_returns_class_scores(case: AdapterCase) -> None:
    """`scores` returns floating-point class scores [B,classes], or raises ModelOutputError if there are none."""
    _, output = case.output()
    try:
        scores = case.adapter.scores(output)
    except ModelOutputError:
        return
    require(
        isinstance(scores, Tensor)
        and scores.ndim == 2
        and len(scores) == len(case.images)
        and scores.is_floating_point(),
        f"`scores` must return floating-point [B,classes] with B={len(case.images)}; it returned "
        f"{list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__}",
    )


def readout_is_valid(case: AdapterCase) -> None:
    """`readout` contains a weight for each token, with sum 1, or raises UnsuitableError if the head reads no tokens."""
    try:
        readout = case.adapter.readout
    except UnsuitableError:
        return
    require(
        isinstance(readout, tuple) and math.isclose(sum(readout), 1, rel_tol=1e-6),
        f"`readout` must be a tuple of token weights whose sum is 1; it is {readout!r}",
    )


def engine_explains_its_model(case: AdapterCase) -> None:
    """An engine uses the adapter for its model, returns finite maps, and leaves the model unchanged."""
    model = copy.deepcopy(case.model).train()
    before = model_snapshot(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantMapWarning)
        warnings.simplefilter("error", PluginWarning)  # states why the adapter is skipped
        engine = Engine(model, plugins=[SingleAdapterPlugin(case.adapter_class)])
        chosen = type(engine.adapter(case.images))
        require(
            chosen is case.adapter_class,
            f"an engine must use {case.adapter_class.__name__} for the model; it uses {chosen.__name__}",
        )
        [saliency] = engine.explain(case.images, GradientTimesImage()).values()
    require(bool(saliency.raw.isfinite().all()), "a map of the model contains NaN or infinity")
    changed = changes(before, model_snapshot(model))
    require(not changed, f"explaining the model changed {changed}")


class SingleAdapterPlugin:
    """Plugin that registers one adapter class."""

    def __init__(self, adapter_class: type[ModelAdapter]) -> None:
        self._adapter_class = adapter_class

    @hookimpl
    def xai_adapters(self) -> list[type[ModelAdapter]]:
        """Return the adapter class."""
        return [self._adapter_class]


CHECKS: tuple[Callable[[AdapterCase], None], ...] = (
    has_docstring,
    supports_its_model,
    rejects_other_models,
    default_layer_is_valid,
    spatial_is_channels_first,
    substitute_inverts_spatial,
    leaves_outputs_unchanged,
    scores_returns_class_scores,
    readout_is_valid,
    engine_explains_its_model,
)
