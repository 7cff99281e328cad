"""Looks names up in the plugins: all that are installed, or those that an engine was restricted to."""

import functools
import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from xai_core.configurable import MADE_OF, Configurable
from xai_core.data.sources import Dataset, DatasetSource, LoadedModel, ModelSource
from xai_core.errors import OptionError, PluginError, PluginWarning
from xai_core.explainer import Explainer
from xai_core.metric import Metric
from xai_core.plugins.discovery import VARIABLE, chosen_by_environment, installed, of_distributions, of_environment
from xai_core.plugins.loader import Entry, Loader, Registry
from xai_core.spec import Spec, parse

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
H = TypeVar("H", bound="HasPlugins")
Plugins = str | object | Iterable[str | object]
"""Distributions by name, and modules or objects with hooks."""
_chosen: ContextVar[Registry | None] = ContextVar("chosen", default=None)


@functools.cache
def registry() -> Registry:
    """Load every plugin that `XAI_PLUGINS` chooses, once.

    Raises
    ------
    PluginError
        Where two plugins give one name, a plugin implements a hook that does not exist, or `XAI_PLUGINS` names none
        that is installed. A plugin that fails to import is kept with its reason, and everything else works.
    """
    loader, there = Loader(), installed()
    chosen = of_environment(there)
    loader.load(chosen)
    loader.registry.left_out = [one.plugin for one in there if one not in chosen]
    return loader.registry


def restricted(plugins: Plugins) -> Registry:
    """Load some plugins only, for an engine: distributions by name, of those that `XAI_PLUGINS` chooses, and objects.

    Raises
    ------
    PluginError
        Where a name is not installed or its plugin is broken, an object carries no hooks, or as for `registry`.
    """
    given = [plugins] if isinstance(plugins, str) or not isinstance(plugins, Iterable) else [*plugins]
    loader, said = Loader(), "plugins="
    if chosen_by_environment():
        said = f"plugins=, of what {VARIABLE}={chosen_by_environment()} chooses,"
    loader.registry.of_engine = True
    loader.load(of_distributions(of_environment(installed()), [one for one in given if isinstance(one, str)], said))
    for plugin in loader.registry.plugins:
        if plugin.broken:
            raise PluginError(f"plugin {plugin} does not work: {plugin.broken}")
    for one in given:
        if not isinstance(one, str):
            loader.take(one)
    return loader.registry


def current() -> Registry:
    """Where names are looked up: in all plugins, or in those of the engine that is at work in this thread."""
    return _chosen.get() or registry()


@contextmanager
def looking_in(chosen: Registry | None) -> Iterator[None]:
    """Look names up in these plugins, in this thread; in all that are installed if None."""
    token = _chosen.set(chosen)
    try:
        yield
    finally:
        _chosen.reset(token)


class HasPlugins(Protocol):
    """What looks names up in plugins of its own; in all that are installed if None."""

    plugins: Registry | None


def in_own_plugins(method: Callable[Concatenate[H, P], R]) -> Callable[Concatenate[H, P], R]:
    """Let a method look names up in the plugins of its object."""

    @functools.wraps(method)
    def call(self: H, /, *args: P.args, **options: P.kwargs) -> R:
        with looking_in(self.plugins):
            return method(self, *args, **options)

    return call


def origin(made: Configurable) -> str:
    """The distribution and version that an explainer or metric comes from, `their-cam 2.3`, by its class.

    Empty for a class of the user's own. One that is made of others comes from where they come from, too.
    """
    found = [entry.plugin.release for entry in map(current().entry_of, _whole(made, [])) if entry is not None]
    return " and ".join(dict.fromkeys(found))


def _whole(made: Configurable, seen: list[Configurable]) -> list[Configurable]:
    """An explainer or metric, and what it is made of."""
    if made not in seen:
        seen.append(made)
        for value in vars(made).values():
            for one in value if isinstance(value, list | tuple) else [value]:
                if isinstance(one, Configurable):
                    _whole(one, seen)
    return seen


def create_explainer(name: str, **options: Any) -> Explainer:
    """Make an explainer by name or spec, `grad-cam` or `grad-cam:layer=layer3`; options override the spec's."""
    return _create(name, "explainers", Explainer, options)


def create_metric(name: str, **options: Any) -> Metric:
    """Make a metric by name or spec, `deletion` or `deletion:steps=28`; options override the spec's."""
    return _create(name, "metrics", Metric, options)


def load_model(spec: str, **options: Any) -> LoadedModel:
    """Load a model, `timm:vit_small_patch16_224` or `torchvision:resnet50,weights=FILE`."""
    parsed = parse(spec)
    source: ModelSource = current().find("models", parsed.head).made_by()
    return _call(source.load, parsed, parsed.name, **{**parsed.options, **options})


def load_dataset(spec: str, **options: Any) -> Dataset:
    """Open a data set, `photos` or `folder:PATH`."""
    parsed = parse(spec)
    source: DatasetSource = current().find("datasets", parsed.head).made_by()
    return _call(source.load, parsed, parsed.name, **{**parsed.options, **options})


def list_explainers() -> list[str]:
    """The names of all installed explainers."""
    return sorted(current().entries["explainers"])


def list_metrics() -> list[str]:
    """The names of all installed metrics."""
    return sorted(current().entries["metrics"])


def list_models() -> list[str]:
    """The specs of all models that the installed sources give; a source that fails to say is passed over."""
    specs = []
    for entry in current().entries["models"].values():
        try:
            specs += specs_of(entry)
        except Exception as error:
            said = f"model source {entry.name} of {entry.plugin.release} failed, and was passed over"
            warnings.warn(PluginWarning(f"{said}: {type(error).__name__}: {error}"), stacklevel=2)
    return sorted(specs)


def specs_of(entry: Entry) -> list[str]:
    """The specs of the models that a source gives."""
    source: ModelSource = entry.made_by()
    return [f"{entry.name}:{model}" for model in source.names()] or [entry.name]


def list_datasets() -> list[str]:
    """The names of all installed data sources."""
    return sorted(current().entries["datasets"])


def _create(spec: str, kind: str, base: type[T], options: dict[str, Any]) -> T:
    parsed = parse(spec)
    made_by = current().find(kind, parsed.head).made_by
    if parsed.name:
        raise OptionError(f"{parsed.name!r} in {spec!r} is not an option; expected `{parsed.head}:option=value`")
    made = _call(made_by, parsed, **{**_made_of(made_by, parsed), **parsed.options, **options})
    assert isinstance(made, base)
    return made


def _made_of(made_by: type[Any], spec: Spec) -> dict[str, Any]:
    """The option that what a spec has in parentheses is given as."""
    if not spec.of:
        return {}
    taken = [name for name in MADE_OF if name in inspect.signature(made_by).parameters]
    if not taken:
        raise OptionError(f"{spec.head!r} is not made of other explainers; expected `{spec.head}:option=value`")
    if taken == ["explainer"] and len(spec.of) > 1:
        raise OptionError(f"{spec.head!r} is made of one explainer, got {len(spec.of)}: {', '.join(spec.of)}")
    return {taken[0]: spec.of[0] if taken == ["explainer"] else spec.of}


def _call(function: Any, spec: Spec, *args: Any, **options: Any) -> Any:
    """Call with options, and say which ones are taken where they do not fit."""
    signature = inspect.signature(function)
    try:
        signature.bind(*args, **options)
    except TypeError as error:
        taken = [p.name for p in list(signature.parameters.values())[len(args) :]]
        raise OptionError(f"{spec.head}: {error}; it takes {', '.join(taken) or 'no options'}") from None
    return function(*args, **options)
