"""All that a plugin gives, with the checks of each thing, or why it cannot be tried."""

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
from xai_core.errors import OptionError, PluginError, XAIError
from xai_core.model.adapter import ModelAdapter
from xai_core.model.probe import probe
from xai_core.plugins.discovery import GROUP, VARIABLE, Plugin, chosen_by_environment
from xai_core.plugins.loader import Entry, Registry
from xai_core.plugins.registry import create_explainer, create_metric, load_model, registry, restricted
from xai_core.spec import parse, suggest
from xai_core.testing.adapters import check_adapter
from xai_core.testing.check import Check
from xai_core.testing.datasets import check_dataset
from xai_core.testing.explainers import check_explainer
from xai_core.testing.metrics import check_metric
from xai_core.testing.model_sources import check_model_source
from xai_core.testing.networks import SIZE, WIDE, pictures

KINDS = ("explainers", "metrics", "adapters", "models", "datasets")


@dataclass(frozen=True)
class Subject:
    """One thing that a plugin gives, with its checks; without any where it cannot be tried, and why.

    Attributes
    ----------
    kind
        `explainer`, `metric`, `adapter`, `model` or `dataset`.
    name
        Its spec, or the class of an adapter.
    """

    kind: str
    name: str
    checks: Sequence[Check] = ()
    not_tried: str = ""


@dataclass(frozen=True)
class Asked:
    """What the user asks to try a plugin on: specs of models, of data, and of what alone is tried."""

    models: Sequence[str] = ()
    data: Sequence[str] = ()
    only: Sequence[str] = ()

    def sources(self, kind: str) -> Sequence[str]:
        """The specs that are of sources of a kind."""
        return {"models": self.models, "datasets": self.data}.get(kind, ())


def find_plugin(package: str) -> tuple[Registry, list[Plugin]]:
    """The plugins of an installed distribution, or of a module with hooks, and the registry that they are in.

    Raises
    ------
    PluginError
        Where it is not installed, gives no plugin, or does not work.
    """
    known = registry()
    same = [one for one in known.plugins if _is(one, package)]
    for plugin in same:
        if plugin.broken:
            raise PluginError(f"plugin {plugin} does not work: {plugin.broken}")
    if same:
        return known, same
    if any(_is(one, package) for one in known.left_out):
        raise PluginError(f"{VARIABLE}={chosen_by_environment()} leaves {package!r} out")
    there = ", ".join(dict.fromkeys(plugin.distribution for plugin in known.plugins)) or "none"
    module = _module(package)
    if module is not None:
        found = restricted([*{plugin.distribution for plugin in known.plugins if not plugin.broken}, module])
        return found, found.plugins[-1:]
    try:
        said = f"{package} {version(package)} has no entry point in the group `{GROUP}`, and so no plugin"
    except (PackageNotFoundError, ValueError):
        said = f"{package!r} is neither an installed distribution nor a module that can be imported"
        if Path(package).exists():
            said += "; it is a folder or a file: install it, and give the distribution's name"
    raise PluginError(f"{said}; distributions with a plugin here: {there}")


def _is(plugin: Plugin, package: str) -> bool:
    return canonicalize_name(plugin.distribution) == canonicalize_name(package) or plugin.module == package


def _module(name: str) -> object | None:
    """The module of that name, or None where there is none."""
    if not all(part.isidentifier() for part in name.split(".")):
        return None
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            return None
        raise PluginError(f"module {name} does not work: {type(error).__name__}: {error}") from error
    except (Exception, SystemExit) as error:
        raise PluginError(f"module {name} does not work: {type(error).__name__}: {error}") from error


def subjects_of(found: Registry, plugins: Iterable[Plugin], asked: Asked) -> Iterator[Subject]:
    """Everything that some plugins of a registry give, with its checks; the registry is the one that is looked in.

    A class says by what spec it is tried as `tried_with`, where its name alone does not do: an explainer that needs an
    option, a source of many models; for an adapter, it is a model that it is for.

    Raises
    ------
    OptionError
        Where nothing that is asked for is given by the plugins, or an explainer cannot be tried on a model.
    """
    given = {kind: [entry for entry in found.entries[kind].values() if entry.plugin in plugins] for kind in KINDS}
    _check_asked(asked, {kind: [_called(kind, entry) for entry in entries] for kind, entries in given.items()})
    models = {spec: load_model(spec) for spec in asked.models}
    networks = _networks(models) if given["explainers"] else {}
    heads = [parse(spec).head for spec in asked.only]
    for kind, entries in given.items():
        for entry in entries:
            called = _called(kind, entry)
            if heads and called not in heads:
                continue
            own = [spec for spec in (*asked.only, *asked.sources(kind)) if parse(spec).head == called != spec]
            for spec in dict.fromkeys(own) or [getattr(entry.made_by, "tried_with", entry.name)]:
                yield _subject(kind, entry, spec, models, networks)


def _check_asked(asked: Asked, names: Mapping[str, Sequence[str]]) -> None:
    """Refuse what would be of no use."""
    everything = [name for some in names.values() for name in some]
    tried_on = names["explainers"] or names["adapters"]
    for option, specs, known in (
        ("--only", asked.only, everything),
        ("--model", [] if tried_on else asked.models, names["models"]),
        ("--data", asked.data, names["datasets"]),
    ):
        for spec in specs:
            if parse(spec).head not in known:
                what = {"--model": "model source", "--data": "data source"}.get(option, "thing called")
                close = suggest(parse(spec).head, known)
                raise OptionError(f"{option} {spec}: this plugin gives no {what} {parse(spec).head!r}; {close}")


def _called(kind: str, entry: Entry) -> str:
    return entry.made_by.__name__ if kind == "adapters" else entry.name


def _subject(
    kind: str, entry: Entry, spec: str, models: Mapping[str, LoadedModel], networks: Mapping[str, nn.Module]
) -> Subject:
    match kind:
        case "explainers":
            return _made(entry, spec, "explainer", networks)
        case "metrics":
            return _made(entry, spec, "metric", networks)
        case "adapters":
            return _adapter(entry.made_by, models)
        case "models":
            return _source(entry, spec, "model")
    return _source(entry, spec, "dataset")


def _made(entry: Entry, spec: str, kind: str, networks: Mapping[str, nn.Module]) -> Subject:
    """An explainer or metric."""
    needed = [p.name for p in inspect.signature(entry.made_by).parameters.values() if p.default is p.empty]
    if spec == entry.name and needed:
        why = f"it needs {', '.join(needed)}: give `--only '{entry.name}:option=value'`, or `tried_with` in the class"
        return Subject(kind, spec, not_tried=why)
    if kind == "metric":
        return Subject(kind, spec, [*check_metric(create_metric(spec))])
    return Subject(kind, spec, [*check_explainer(create_explainer(spec), networks or None)])


def _adapter(adapter: type[ModelAdapter], models: Mapping[str, LoadedModel]) -> Subject:
    """An adapter, on the first model that it suits."""
    if not models and hasattr(adapter, "tried_with"):
        models = {adapter.tried_with: load_model(adapter.tried_with)}
    for loaded in models.values():
        images = _images(loaded)
        if adapter.suits(loaded.model, probe(loaded.model, lambda model, images: model(images), images)):
            return Subject("adapter", adapter.__name__, [*check_adapter(adapter, loaded.model, images)])
    tried = f"it suits none of {', '.join(models)}: " if models else ""
    why = f"{tried}give a model that it is for, `--model SPEC`, or `tried_with = SPEC` in the class"
    return Subject("adapter", adapter.__name__, not_tried=why)


def _source(entry: Entry, spec: str, kind: str) -> Subject:
    """A source of models or data, on what it gives by a spec."""
    parsed, made = parse(spec), entry.made_by()
    if spec == entry.name and not (kind == "model" and made.names()):
        try:
            made.load(None)
        except (XAIError, TypeError) as error:
            option = "--model" if kind == "model" else "--data"
            why = f"give `{option} {entry.name}:...`, or `tried_with` in the class; without, it says: {error}"
            return Subject(kind, spec, not_tried=why)
    check: Any = check_model_source if kind == "model" else check_dataset
    return Subject(kind, spec, [*check(made, parsed.name, **parsed.options)])


def _images(loaded: LoadedModel) -> Tensor:
    """Two images as a model takes them."""
    noise = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    return torch.stack([loaded.preprocess(image) for image in noise])


def _networks(models: Mapping[str, LoadedModel]) -> dict[str, nn.Module]:
    """Models that explainers can be tried on."""
    for spec, loaded in models.items():
        for size in (SIZE, WIDE):
            try:
                with torch.no_grad():
                    loaded.model(pictures(size=size))
            except Exception as error:
                raise OptionError(
                    f"--model {spec}: explainers are tried on images of {SIZE[0]}x{SIZE[1]} and {WIDE[0]}x{WIDE[1]}, "
                    f"and it does not take {size[0]}x{size[1]} ({type(error).__name__}: {error})"
                ) from error
    return {spec: loaded.model for spec, loaded in models.items()}
