"""Conformance checks of everything that a plugin provides."""

import importlib
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from packaging.utils import canonicalize_name
from torch import Tensor, nn

from xai_core.data.sources import LoadedModel
from xai_core.error_text import described
from xai_core.errors import OptionError, PluginError, XAIError
from xai_core.model.adapter import ModelAdapter
from xai_core.model.probe import probe
from xai_core.model.user_forward import call_model
from xai_core.plugins.creation import create_explainer, create_metric, load_model
from xai_core.plugins.discovery import GROUP, VARIABLE, Plugin, chosen_by_environment
from xai_core.plugins.loader import Entry, Registry
from xai_core.plugins.registry import registry, restricted
from xai_core.spec import parse, suggest
from xai_core.testing.adapters import check_adapter
from xai_core.testing.check import Check
from xai_core.testing.datasets import check_dataset
from xai_core.testing.explainers import check_explainer
from xai_core.testing.metrics import check_metric
from xai_core.testing.model_sources import check_model_source
from xai_core.testing.networks import SIZE, WIDE, random_images

KINDS = ("explainers", "metrics", "adapters", "models", "datasets")


@dataclass(frozen=True)
class Component:
    """An explainer, metric, adapter, model source or dataset source of a plugin, with its conformance checks.

    Attributes
    ----------
    kind
        `explainer`, `metric`, `adapter`, `model` or `dataset`.
    name
        The spec of the component, or the class name of an adapter.
    checks
        The checks of the component, empty if it cannot be tested.
    skip_reason
        The reason why the component cannot be tested, with a remedy, or an empty string.
    """

    kind: str
    name: str
    checks: Sequence[Check] = ()
    skip_reason: str = ""


@dataclass(frozen=True)
class CheckOptions:
    """Options of a run of conformance tests.

    Attributes
    ----------
    models
        Specs of models to test on.
    data
        Specs of datasets to test.
    only
        Names or specs of the components to test, or class names of adapters. Empty: all components.
    """

    models: Sequence[str] = ()
    data: Sequence[str] = ()
    only: Sequence[str] = ()

    def source_specs(self, kind: str) -> Sequence[str]:
        """Return the specs for sources of a kind, `models` or `datasets`."""
        return {"models": self.models, "datasets": self.data}.get(kind, ())


def find_plugin(package: str) -> tuple[Registry, list[Plugin]]:
    """Return the plugins of an installed package, or of an importable module with hooks, and their registry.

    Raises
    ------
    PluginError
        If the package is not installed, provides no plugin, or its plugin cannot be loaded.
    """
    known = registry()
    matching = [plugin for plugin in known.plugins if _matches(plugin, package)]
    for plugin in matching:
        if plugin.broken:
            raise PluginError(f"plugin {plugin} cannot be loaded: {plugin.broken}")
    if matching:
        return known, matching
    if any(_matches(plugin, package) for plugin in known.left_out):
        raise PluginError(f"{VARIABLE}={chosen_by_environment()} excludes {package!r}; change or unset {VARIABLE}")
    module = _module(package)
    if module is not None:
        extended = restricted([*{plugin.distribution for plugin in known.plugins if not plugin.broken}, module])
        return extended, extended.plugins[-1:]
    installed = ", ".join(dict.fromkeys(plugin.distribution for plugin in known.plugins)) or "none"
    raise PluginError(f"{_why_not_found(package)}; installed packages with a plugin: {installed}")


def _why_not_found(package: str) -> str:
    try:
        return f"{package} {version(package)} is not a plugin: it has no entry point in the group `{GROUP}`"
    except (PackageNotFoundError, ValueError):
        reason = f"{package!r} is neither an installed package nor an importable module"
        if Path(package).exists():
            reason += "; it is a folder or a file: install it, and pass the name of the package"
        return reason


def _matches(plugin: Plugin, package: str) -> bool:
    return canonicalize_name(plugin.distribution) == canonicalize_name(package) or plugin.module == package


def _module(name: str) -> object | None:
    """Import a module by name, or return None if there is no module of that name."""
    if not all(part.isidentifier() for part in name.split(".")):
        return None
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            return None
        raise PluginError(f"module {name} cannot be imported: {described(error)}") from error
    except (Exception, SystemExit) as error:
        raise PluginError(f"module {name} cannot be imported: {described(error)}") from error


def plugin_components(known: Registry, plugins: Iterable[Plugin], options: CheckOptions) -> Iterator[Component]:
    """Yield everything that plugins of the active registry provide, with its conformance checks.

    The class attribute `test_spec` is the spec to test a component with. A component needs it if it has required
    options, or loads a named model or dataset. For an adapter, it is the spec of a model that the adapter supports.

    Raises
    ------
    OptionError
        If the plugins do not provide what the options name, or explainers cannot be tested on a model.
    """
    entries = {kind: [entry for entry in known.entries[kind].values() if entry.plugin in plugins] for kind in KINDS}
    _validate(options, {kind: [_component_name(kind, entry) for entry in group] for kind, group in entries.items()})
    models = {spec: load_model(spec) for spec in options.models}
    networks = _explainer_models(models) if entries["explainers"] else {}
    selected = [parse(spec).head for spec in options.only]
    for kind, group in entries.items():
        for entry in group:
            name = _component_name(kind, entry)
            if selected and name not in selected:
                continue
            candidates = (*options.only, *options.source_specs(kind))
            specs = [spec for spec in candidates if parse(spec).head == name != spec]
            for spec in dict.fromkeys(specs) or [getattr(entry.made_by, "test_spec", entry.name)]:
                yield _component(kind, entry, spec, models, networks)


def _validate(options: CheckOptions, names: Mapping[str, Sequence[str]]) -> None:
    """Require that the plugins provide each item, model source and dataset source that the options name."""
    everything = [name for group in names.values() for name in group]
    tested_on_models = names["explainers"] or names["adapters"]
    for option, what, specs, known in (
        ("--only", "component", options.only, everything),
        ("--model", "model source", () if tested_on_models else options.models, names["models"]),
        ("--data", "dataset source", options.data, names["datasets"]),
    ):
        for spec in specs:
            head = parse(spec).head
            if head not in known:
                raise OptionError(f"{option} {spec}: this plugin provides no {what} {head!r}; {suggest(head, known)}")


def _component_name(kind: str, entry: Entry) -> str:
    return entry.made_by.__name__ if kind == "adapters" else entry.name


def _component(
    kind: str, entry: Entry, spec: str, models: Mapping[str, LoadedModel], networks: Mapping[str, nn.Module]
) -> Component:
    match kind:
        case "explainers":
            return _configurable(entry, spec, "explainer", networks)
        case "metrics":
            return _configurable(entry, spec, "metric", networks)
        case "adapters":
            return _adapter(entry.made_by, models)
        case "models":
            return _source(entry, spec, "model")
    return _source(entry, spec, "dataset")


def _configurable(entry: Entry, spec: str, kind: str, networks: Mapping[str, nn.Module]) -> Component:
    """Return an explainer or metric."""
    parameters = inspect.signature(entry.made_by).parameters.values()
    required = [parameter.name for parameter in parameters if parameter.default is parameter.empty]
    if spec == entry.name and required:
        reason = (
            f"it has required options ({', '.join(required)}): pass `--only '{entry.name}:option=value'`, or define "
            "`test_spec` in the class"
        )
        return Component(kind, spec, skip_reason=reason)
    if kind == "metric":
        return Component(kind, spec, [*check_metric(create_metric(spec))])
    return Component(kind, spec, [*check_explainer(create_explainer(spec), networks or None)])


def _adapter(adapter: type[ModelAdapter], models: Mapping[str, LoadedModel]) -> Component:
    """Return an adapter, tested on the first model that it supports."""
    if not models and hasattr(adapter, "test_spec"):
        models = {adapter.test_spec: load_model(adapter.test_spec)}
    for loaded in models.values():
        images = _images(loaded)
        if adapter.suits(loaded.model, probe(loaded.model, call_model, images)):
            return Component("adapter", adapter.__name__, [*check_adapter(adapter, loaded.model, images)])
    tested = f"it supports none of {', '.join(models)}: " if models else ""
    reason = f"{tested}pass a model that it supports, `--model SPEC`, or define `test_spec` in the class"
    return Component("adapter", adapter.__name__, skip_reason=reason)


def _source(entry: Entry, spec: str, kind: str) -> Component:
    """Return a source of models or datasets, tested on one of them."""
    parsed, source = parse(spec), entry.made_by()
    if spec == entry.name and not (kind == "model" and source.names()):
        try:
            source.load(None)
        except (XAIError, TypeError) as error:
            option = "--model" if kind == "model" else "--data"
            reason = (
                f"it cannot be loaded by name alone ({error}): pass `{option} {entry.name}:...`, or define `test_spec` "
                "in the class"
            )
            return Component(kind, spec, skip_reason=reason)
    check: Any = check_model_source if kind == "model" else check_dataset
    return Component(kind, spec, [*check(source, parsed.name, **parsed.options)])


def _images(loaded: LoadedModel) -> Tensor:
    """Return two random images [2,C,h,w], preprocessed for a model."""
    noise = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    return torch.stack([loaded.preprocess(image) for image in noise])


def _explainer_models(models: Mapping[str, LoadedModel]) -> dict[str, nn.Module]:
    """Return the modules of loaded models, each of which must support the sizes of the test images."""
    for spec, loaded in models.items():
        for size in (SIZE, WIDE):
            try:
                with torch.no_grad():
                    loaded.model(random_images(size=size))
            except Exception as error:
                raise OptionError(
                    f"--model {spec}: explainers are tested on images of {SIZE[0]}x{SIZE[1]} and {WIDE[0]}x{WIDE[1]}, "
                    f"but the model does not support {size[0]}x{size[1]} ({described(error)}); pass "
                    "another model"
                ) from error
    return {spec: loaded.model for spec, loaded in models.items()}
