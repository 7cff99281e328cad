"""Looks up names in the plugins: in all installed plugins, or in those that an engine was restricted to."""

import functools
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from xai_core.configurable import Configurable
from xai_core.data.sources import ModelSource
from xai_core.error_text import CONTAINED, described, shown
from xai_core.errors import PluginContractError, PluginError, PluginWarning
from xai_core.isolation.error_context import PluginCall
from xai_core.isolation.raised_in import raised_in
from xai_core.model.adapter import ModelAdapter
from xai_core.plugins.discovery import VARIABLE, chosen_by_environment, installed, of_distributions, of_environment
from xai_core.plugins.loader import Entry, Loader, Registry

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
    """Decorate a method so that it looks names up in the registry of its object, and errors name failing adapters."""

    @functools.wraps(method)
    def call(self: H, /, *args: P.args, **options: P.kwargs) -> R:
        with looking_in(self.plugins):
            try:
                return method(self, *args, **options)
            except Exception as error:
                _name_adapter(error)
                raise

    return call


def _name_adapter(error: Exception) -> None:
    """Attach the adapter in whose code an error was raised, in place of the explainer or metric that called it."""
    for entry in current().entries["adapters"].values():
        if raised_in(error, entry.made_by, ModelAdapter):
            PluginCall("adapter", entry.name, entry.made_by, entry.plugin.release).claim(error)


def origin(created: Configurable) -> str:
    """Return the package and version that provides an explainer or metric, such as `their-cam 2.3`.

    The result is empty for a class that no plugin provides. A composite method also has the origins of its parts.
    """
    entries = [entry for entry in map(current().entry_of, _with_parts(created, [])) if entry is not None]
    return " and ".join(dict.fromkeys(entry.plugin.release for entry in entries))


def _with_parts(created: Configurable, seen: list[Configurable]) -> list[Configurable]:
    """Return an explainer or metric, and the explainers and metrics that it contains."""
    if not any(created is other for other in seen):
        seen.append(created)
        for value in vars(created).values():
            for item in value if isinstance(value, list | tuple) else [value]:
                if isinstance(item, Configurable):
                    _with_parts(item, seen)
    return seen


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
        except CONTAINED as error:
            message = f"model source {entry.name} of {entry.plugin.release} failed and was skipped"
            warnings.warn(PluginWarning(f"{message}: {described(error)}"), stacklevel=2)
    return sorted(specs)


def specs_of(entry: Entry) -> list[str]:
    """Return the specs of all models of a source.

    Raises
    ------
    PluginContractError
        If the source does not return a sequence of strings.
    """
    source: ModelSource = entry.made_by()
    names = source.names()
    if not isinstance(names, Sequence) or isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise PluginContractError(
            f"`names` of the source {entry.name} of {entry.plugin.release} must return a sequence of strings; "
            f"it returned {shown(names)}"
        )
    return [f"{entry.name}:{model}" for model in names] or [entry.name]


def list_datasets() -> list[str]:
    """Return the names of all dataset sources that the plugins provide."""
    return sorted(current().entries["datasets"])
