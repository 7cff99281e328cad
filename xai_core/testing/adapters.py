"""The promises of adapters."""

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from xai_core.engine import Engine
from xai_core.errors import ConstantMapWarning, ModelOutputError, UnsuitableError
from xai_core.model.adapter import ModelAdapter
from xai_core.model.layouts import Features
from xai_core.model.probe import Probe, probe
from xai_core.outputs import first_tensor
from xai_core.plugins.hookspecs import hookimpl
from xai_core.testing.check import Check, checks_of, require
from xai_core.testing.described import declared, require_docstring
from xai_core.testing.metric_case import GradientTimesImage
from xai_core.testing.networks import more_networks, networks, pictures
from xai_core.testing.trace import difference, trace


def check_adapter(
    adapter: type[ModelAdapter],
    model: nn.Module,
    images: Tensor | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> Iterator[Check]:
    """The promises of an adapter, one check each.

    Parameters
    ----------
    adapter
        The class.
    model
        A model that it is for, in evaluation mode.
    images
        [B,C,H,W] as that model takes them, B of at least two; default: random ones of [2,3,32,32].
    expected_failures
        Names of checks that it cannot pass, each with the reason; with those that its class declares in an attribute
        `expected_failures`.
    """
    case = AdapterCase(adapter, model, pictures() if images is None else images)
    return checks_of(adapter.__name__, case, PROMISES, declared(adapter, expected_failures))


@dataclass
class AdapterCase:
    """An adapter, a model that it is for, and images."""

    made_by: type[ModelAdapter]
    model: nn.Module
    images: Tensor

    @property
    def probe(self) -> Probe:
        """What one forward of the model shows."""
        return probe(self.model, lambda model, images: model(images), self.images)

    @property
    def adapter(self) -> ModelAdapter:
        """The adapter of the model."""
        return self.made_by(self.model, self.probe)

    def output(self) -> tuple[Tensor, object]:
        """What the default layer gave, and the model."""
        kept: list[Tensor] = []

        def keep(module: nn.Module, args: object, output: object) -> None:
            tensor = first_tensor(output)
            assert tensor is not None
            kept.append(tensor.clone())

        handle = self.model.get_submodule(self.adapter.default_layer).register_forward_hook(keep)
        with torch.no_grad():
            output = self.model(self.images)
        handle.remove()
        return kept[-1], output


def says_what_it_is(case: AdapterCase) -> None:
    """The docstring's first line says which models it is for."""
    require_docstring(case.made_by)


def suits_its_model(case: AdapterCase) -> None:
    """`suits` is true for the model that it is for."""
    given = case.made_by.suits(case.model, case.probe)
    require(given is True, f"`suits` gave {given!r} for the model that the adapter is for")


def leaves_other_models_to_others(case: AdapterCase) -> None:
    """`suits` is false for models that the built-in adapters read well: a plugin's adapter comes before them."""
    for called, model in {**networks(), **more_networks()}.items():
        if type(model) is type(case.model):
            continue
        seen = probe(model, lambda model, images: model(images), pictures())
        given = case.made_by.suits(model, seen)
        require(given is False, f"`suits` gave {given!r} for {called}, which is not what the adapter is for")


def names_a_layer_that_runs(case: AdapterCase) -> None:
    """The default layer is a module's name, and its features are known."""
    layer = case.adapter.default_layer
    names = dict(case.model.named_modules())
    require(layer in names, f"`default_layer` is {layer!r}, which is no module of the model")
    features = case.adapter.features(layer)
    require(
        isinstance(features, Features), f"`features({layer!r})` must give xai_core's Features; it gave {features!r}"
    )


def shows_features_channels_first(case: AdapterCase) -> None:
    """`spatial` shows the default layer's output as [B,K,h,w] on its grid."""
    adapter = case.adapter
    tensor, _ = case.output()
    maps = adapter.spatial(tensor, adapter.default_layer)
    expected = (len(case.images), *adapter.grid)
    require(
        maps.ndim == 4 and (maps.shape[0], *maps.shape[2:]) == expected,
        f"`spatial` must give [B,K,h,w] with B, h, w = {expected}; it gave {list(maps.shape)}",
    )


def puts_back_what_it_shows(case: AdapterCase) -> None:
    """`substitute` is the inverse of `spatial`."""
    adapter = case.adapter
    tensor, _ = case.output()
    layer = adapter.default_layer
    maps = adapter.spatial(tensor, layer)
    require(
        torch.equal(adapter.substitute(tensor, maps, layer), tensor),
        "`substitute(tensor, spatial(tensor))` must be the tensor itself",
    )
    changed = adapter.spatial(adapter.substitute(tensor, maps + 1, layer), layer)
    require(torch.equal(changed, maps + 1), "what `substitute` put in, `spatial` must show")


def gives_class_scores(case: AdapterCase) -> None:
    """`scores` finds floating-point [B,classes] in the output, or says by ModelOutputError that there are none."""
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
        f"`scores` must give floating-point [B,classes] with B={len(case.images)}; it gave "
        f"{list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__}",
    )


def says_what_the_head_reads(case: AdapterCase) -> None:
    """`readout` is a slice of tokens, or raises UnsuitableError where the head reads none."""
    try:
        given = case.adapter.readout
    except UnsuitableError:
        return
    require(isinstance(given, slice), f"`readout` must be a slice of tokens; it is {given!r}")


def models_are_explained_by_it(case: AdapterCase) -> None:
    """An engine with it gives finite maps, and leaves the model as it was."""
    model = copy.deepcopy(case.model).train()
    before = trace(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantMapWarning)
        engine = Engine(model, plugins=[Giving(case.made_by)])
        require(
            type(engine.adapter(case.images)) is case.made_by,
            f"an engine chose {type(engine.adapter(case.images)).__name__} for the model",
        )
        [saliency] = engine.explain(case.images, GradientTimesImage()).values()
    require(bool(saliency.raw.isfinite().all()), "a map of the model holds NaN or infinity")
    left = difference(before, trace(model))
    require(not left, f"explaining the model changed {left}")


class Giving:
    """A plugin of one adapter."""

    def __init__(self, adapter: type[ModelAdapter]) -> None:
        self._adapter = adapter

    @hookimpl
    def xai_adapters(self) -> list[type[ModelAdapter]]:
        """Give it."""
        return [self._adapter]


PROMISES: tuple[Callable[[AdapterCase], None], ...] = (
    says_what_it_is,
    suits_its_model,
    leaves_other_models_to_others,
    names_a_layer_that_runs,
    shows_features_channels_first,
    puts_back_what_it_shows,
    gives_class_scores,
    says_what_the_head_reads,
    models_are_explained_by_it,
)
