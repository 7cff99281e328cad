"""Looks up names in the plugins: in all installed plugins, or in those that an engine was restricted to."""

import functools
import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from xai_core.configurable import MADE_OF, Configurable
from xai_core.data.sources import Dataset, DatasetSource, LoadedModel, ModelSource
from xai_core.errors import OptionError, PluginError, PluginWarning, SpecError, UnknownOptionError
from xai_core.explainer import Explainer
from xai_core.metric import Metric
from xai_core.plugins.discovery import VARIABLE, chosen_by_environment, installed, of_distributions, of_environment
from xai_core.plugins.loader import Entry, Loader, Registry
from xai_core.spec import Spec, close_names, parse, suggest

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
H = TypeVar("H", bound="HasPlugins")
Plugins = str | object | Iterable[str | object]
"""Packages by name, and modules or objects with hooks."""
_chosen: ContextVar[Registry | None] = ContextVar("chosen", default=None)


@functools.cache
def registry() -> Registry:
    """Load all plugins that `XAI_PLUGINS` selects, once.

    A plugin that cannot be imported is listed with the reason, and the other plugins work.

    Raises
    ------
    PluginError
        If two plugins provide the same name, a plugin implements a hook that does not exist, or `XAI_PLUGINS` names a
        package that is not installed.
    """
    loader, discovered = Loader(), installed()
    chosen = of_environment(discovered)
    loader.load(chosen)
    loader.registry.left_out = [candidate.plugin for candidate in discovered if candidate not in chosen]
    return loader.registry


def restricted(plugins: Plugins) -> Registry:
    """Load only some plugins, for one engine.

    Parameters
    ----------
    plugins
        Packages by name, among those that `XAI_PLUGINS` selects, and modules or objects with hooks.

    Raises
    ------
    PluginError
        If a package is not installed or its plugin cannot be used, an object has no hooks, or `registry` raises
        the error.
    """
    requested = [plugins] if isinstance(plugins, str) or not isinstance(plugins, Iterable) else [*plugins]
    loader, setting = Loader(), "plugins="
    if chosen_by_environment():
        setting = f"plugins= (of those that {VARIABLE}={chosen_by_environment()} selects)"
    loader.registry.of_engine = True
    names = [plugin for plugin in requested if isinstance(plugin, str)]
    loader.load(of_distributions(of_environment(installed()), names, setting))
    for plugin in loader.registry.plugins:
        if plugin.broken:
            raise PluginError(f"plugin {plugin} cannot be used: {plugin.broken}")
    for module in requested:
        if not isinstance(module, str):
            loader.take(module)
    return loader.registry


def current() -> Registry:
    """Return the registry in which this thread looks names up: of the engine that is running, or of all plugins."""
    return _chosen.get() or registry()


@contextmanager
def looking_in(chosen: Registry | None) -> Iterator[None]:
    """Look names up in a registry, in this thread. If it is None, look in all installed plugins."""
    token = _chosen.set(chosen)
    try:
        yield
    finally:
        _chosen.reset(token)


class HasPlugins(Protocol):
    """An object that looks names up in its own registry, or in all installed plugins if it is None."""

    plugins: Registry | None


def in_own_plugins(method: Callable[Concatenate[H, P], R]) -> Callable[Concatenate[H, P], R]:
    """Decorate a method so that it looks names up in the registry of its object."""

    @functools.wraps(method)
    def call(self: H, /, *args: P.args, **options: P.kwargs) -> R:
        with looking_in(self.plugins):
            return method(self, *args, **options)

    return call


def origin(created: Configurable) -> str:
    """Return the package and version that provides an explainer or metric, such as `their-cam 2.3`.

    The result is empty for a class that no plugin provides. A composite method also has the origins of its parts.
    """
    entries = [entry for entry in map(current().entry_of, _with_parts(created, [])) if entry is not None]
    return " and ".join(dict.fromkeys(entry.plugin.release for entry in entries))


def _with_parts(created: Configurable, seen: list[Configurable]) -> list[Configurable]:
    """Return an explainer or metric, and the ones that it is composed of."""
    if created not in seen:
        seen.append(created)
        for value in vars(created).values():
            for item in value if isinstance(value, list | tuple) else [value]:
                if isinstance(item, Configurable):
                    _with_parts(item, seen)
    return seen


def create_explainer(name: str, **options: Any) -> Explainer:
    """Create an explainer by name or spec, such as `grad-cam` or `grad-cam:layer=layer3`.

    Parameters
    ----------
    name
        A name or spec.
    options
        Options, which override those of the spec.

    Raises
    ------
    UnknownExplainerError
        If no plugin provides the name.
    UnknownOptionError
        If the method has no such option.
    OptionError
        If an option has a wrong value.
    SpecError
        If the spec cannot be parsed.
    """
    return _create(name, "explainers", Explainer, options)


def create_metric(name: str, **options: Any) -> Metric:
    """Create a metric by name or spec, such as `deletion` or `deletion:steps=28`.

    Parameters
    ----------
    name
        A name or spec.
    options
        Options, which override those of the spec.

    Raises
    ------
    UnknownMetricError
        If no plugin provides the name.
    UnknownOptionError
        If the metric has no such option.
    OptionError
        If an option has a wrong value.
    SpecError
        If the spec cannot be parsed.
    """
    return _create(name, "metrics", Metric, options)


def load_model(spec: str, **options: Any) -> LoadedModel:
    """Load a model by its spec, such as `timm:vit_small_patch16_224` or `torchvision:resnet50,weights=FILE`.

    Parameters
    ----------
    spec
        A source, and a model of that source if it has several.
    options
        Options, which override those of the spec.

    Raises
    ------
    UnknownModelError
        If no plugin provides the source, or the source does not have the model.
    UnknownOptionError, OptionError
        If an option does not exist, or has a wrong value.
    CheckpointError, FileError
        If a weights file cannot be read, does not match the model, or does not exist.
    """
    parsed = parse(spec)
    source: ModelSource = current().find("models", parsed.head).made_by()
    return _call(source.load, parsed, parsed.name, **{**parsed.options, **options})


def load_dataset(spec: str, **options: Any) -> Dataset:
    """Open a dataset by its spec, such as `photos` or `folder:PATH`.

    Parameters
    ----------
    spec
        A source, and the dataset or folder if the source needs one. Quotes allow any path: `folder:"/data/a,b"`.
    options
        Options, which override those of the spec.

    Raises
    ------
    UnknownDatasetError
        If no plugin provides the source, or the source does not have the dataset.
    UnknownOptionError, OptionError
        If an option does not exist, or has a wrong value.
    FileError
        If a file or folder does not exist.
    """
    parsed = parse(spec)
    source: DatasetSource = current().find("datasets", parsed.head).made_by()
    return _call(source.load, parsed, parsed.name, **{**parsed.options, **options})


def list_explainers() -> list[str]:
    """Return the names of all explainers that the plugins provide."""
    return sorted(current().entries["explainers"])


def list_metrics() -> list[str]:
    """Return the names of all metrics that the plugins provide."""
    return sorted(current().entries["metrics"])


def list_models() -> list[str]:
    """Return the specs of all models that the sources provide. A source that fails is skipped with a warning."""
    specs = []
    for entry in current().entries["models"].values():
        try:
            specs += specs_of(entry)
        except Exception as error:
            message = f"model source {entry.name} of {entry.plugin.release} failed and was skipped"
            warnings.warn(PluginWarning(f"{message}: {type(error).__name__}: {error}"), stacklevel=2)
    return sorted(specs)


def specs_of(entry: Entry) -> list[str]:
    """Return the specs of all models of a source."""
    source: ModelSource = entry.made_by()
    return [f"{entry.name}:{model}" for model in source.names()] or [entry.name]


def list_datasets() -> list[str]:
    """Return the names of all dataset sources that the plugins provide."""
    return sorted(current().entries["datasets"])


def _create(text: str, kind: str, base: type[T], options: dict[str, Any]) -> T:
    spec = parse(text)
    made_by = current().find(kind, spec.head).made_by
    if spec.name is not None:
        taken = ", ".join(_options_of(made_by)) or "none"
        raise SpecError(
            f"{spec.name!r} in {text!r} is not an option; expected `{spec.head}:option=value`. The options are: {taken}"
        )
    created = _call(made_by, spec, **{**_nested(made_by, spec), **spec.options, **options})
    assert isinstance(created, base)
    return created


def _nested(made_by: type[Any], spec: Spec) -> dict[str, Any]:
    """Return the option that receives the specs in the parentheses of a composite method."""
    if not spec.of:
        return {}
    taken = [name for name in MADE_OF if name in _options_of(made_by)]
    if not taken:
        raise SpecError(f"{spec.head!r} is not a composite explainer; expected `{spec.head}:option=value`")
    if taken == ["explainer"] and len(spec.of) > 1:
        raise SpecError(f"{spec.head!r} must contain exactly one explainer, got {len(spec.of)}: {', '.join(spec.of)}")
    return {taken[0]: spec.of[0] if taken == ["explainer"] else spec.of}


def _options_of(function: Callable[..., Any], skipped: int = 0) -> list[str]:
    """Return the names of a function's parameters after the first ones, without `*args` and `**options`."""
    parameters = [*inspect.signature(function).parameters.values()][skipped:]
    return [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def _call(function: Callable[..., Any], spec: Spec, *args: Any, **options: Any) -> Any:
    """Call a function with options, after checking that it takes them.

    Raises
    ------
    UnknownOptionError
        If it does not take one of the options.
    OptionError
        If it requires an option that is missing.
    """
    signature = inspect.signature(function)
    try:
        signature.bind(*args, **options)
    except TypeError as error:
        known = _options_of(function, len(args))
        takes = f"it takes {', '.join(known) or 'no options'}"
        for option in options:
            if option not in known:
                close = f"; {suggest(option, known)}" if close_names(option, known) else ""
                raise UnknownOptionError(f"{spec.head} has no option {option!r} ({takes}){close}") from None
        raise OptionError(f"{spec.head}: {error}; {takes}") from None
    return function(*args, **options)
