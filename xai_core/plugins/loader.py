"""Loads plugins into a registry: the classes that they provide, by kind and name."""

import contextlib
import inspect
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import pluggy

from xai_core.data.sources import DatasetSource, ModelSource
from xai_core.error_text import CONTAINED, described, message_of
from xai_core.errors import (
    PluginContractError,
    PluginError,
    UnknownDatasetError,
    UnknownExplainerError,
    UnknownMetricError,
    UnknownModelError,
    XAIError,
)
from xai_core.explainer import Explainer
from xai_core.metric import Metric
from xai_core.model.adapter import ModelAdapter
from xai_core.plugins import hookspecs
from xai_core.plugins.discovery import GROUP, VARIABLE, DiscoveredPlugin, Plugin, chosen_by_environment
from xai_core.plugins.names import checked_name
from xai_core.spec import close_names, suggest

KINDS: dict[str, tuple[str, type]] = {
    "explainers": ("xai_explainers", Explainer),
    "metrics": ("xai_metrics", Metric),
    "adapters": ("xai_adapters", ModelAdapter),
    "models": ("xai_models", ModelSource),
    "datasets": ("xai_datasets", DatasetSource),
}
"""The hook and the base class of each kind of class that plugins provide."""
_UNKNOWN: dict[str, type[XAIError]] = {
    "explainers": UnknownExplainerError,
    "metrics": UnknownMetricError,
    "models": UnknownModelError,
    "datasets": UnknownDatasetError,
}
PASSED = "passed to the engine"
"""The module name of a plugin that is passed as an object. Its package name is the name of the object."""


@dataclass(frozen=True)
class Entry:
    """A class that a plugin provides, under its name."""

    name: str
    made_by: type[Any]
    plugin: Plugin

    @property
    def summary(self) -> str:
        """The first line of the class's docstring."""
        return (inspect.getdoc(self.made_by) or "").partition("\n")[0]


@dataclass
class Registry:
    """The classes that some plugins provide, by kind and name.

    Attributes
    ----------
    plugins
        The plugins that were loaded, and the plugins that failed to load.
    entries
        The classes by kind (see `KINDS`) and name.
    left_out
        The installed plugins that `XAI_PLUGINS` does not select.
    of_engine
        Whether these are the plugins that one engine was restricted to.
    """

    plugins: list[Plugin] = field(default_factory=list)
    entries: dict[str, dict[str, Entry]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    left_out: list[Plugin] = field(default_factory=list)
    of_engine: bool = False

    def find(self, kind: str, name: str) -> Entry:
        """Return the class of a kind and name.

        Raises
        ------
        UnknownExplainerError, UnknownMetricError, UnknownModelError, UnknownDatasetError
            If no plugin provides it. The message suggests similar names, and lists plugins that were not loaded.
        """
        try:
            return self.entries[kind][name]
        except KeyError:
            raise _UNKNOWN[kind](self._unknown(kind, name)) from None

    def entry_of(self, created: object) -> Entry | None:
        """Return the entry of an object's class, or None if no plugin provides the class."""
        all_entries = (entry for entries in self.entries.values() for entry in entries.values())
        return next((entry for entry in all_entries if entry.made_by is type(created)), None)

    def _unknown(self, kind: str, name: str) -> str:
        listed = "methods" if kind == "explainers" else kind
        what, close = f"{listed.removesuffix('s')} {name!r}", self._suggestion(kind, name)
        if self.of_engine:
            plugins = ", ".join(dict.fromkeys(plugin.release for plugin in self.plugins)) or "none"
            return (
                f"this engine is restricted to some plugins ({plugins}), and none of them provides {what}; {close} Add "
                "a plugin that provides it to `plugins=`, or omit `plugins=` to look in all installed plugins"
            )
        broken = [f"{plugin.distribution} ({plugin.broken})" for plugin in self.plugins if plugin.broken]
        left_out = [*dict.fromkeys(plugin.distribution for plugin in self.left_out)]
        also = f" Plugins that failed to load: {'; '.join(broken)}." if broken else ""
        also += f" {VARIABLE}={chosen_by_environment()} leaves out: {', '.join(left_out)}." if left_out else ""
        return f"no installed plugin provides {what}; {close} `xai list {listed}` shows all.{also}"

    def _suggestion(self, kind: str, name: str) -> str:
        """Return names that resemble a wrong name: of the same kind, of models of the sources, or of another kind."""
        others = [other for other, entries in self.entries.items() if other != kind and name in entries]
        if others:
            kinds = {"explainers": "a method", "metrics": "a metric", "models": "a model", "datasets": "a dataset"}
            return f"{name!r} is the name of {kinds.get(others[0], 'an adapter')}."
        if kind == "models" and (specs := self._models_like(name)):
            return "did you mean " + " or ".join(map(repr, specs)) + "?"
        suggestion = suggest(name, self.entries[kind])
        return suggestion if suggestion.endswith("?") else f"{suggestion}."

    def _models_like(self, name: str) -> list[str]:
        """Return the specs of the sources' models whose names resemble a name without a source."""
        by_model: dict[str, list[str]] = {}
        for entry in self.entries["models"].values():
            with contextlib.suppress(*CONTAINED):  # a source whose library is not installed
                for model in entry.made_by().names():
                    by_model.setdefault(model, []).append(f"{entry.name}:{model}")
        if close_names(name, self.entries["models"], cutoff=0.8):
            return []
        return [spec for model in close_names(name, by_model, cutoff=0.8) for spec in by_model[model]]


class Loader:
    """Fills a registry with the classes that plugins provide.

    Two plugins that provide the same name, or a plugin that implements an unknown hook, raise a `PluginError`. A plugin
    that cannot be imported, or whose hooks fail, is listed with the reason, and the other plugins work.
    """

    def __init__(self) -> None:
        self.registry = Registry()
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(hookspecs)

    def load(self, discovered: Iterable[DiscoveredPlugin]) -> None:
        """Import plugins, except those that do not support this xai-core, and register their classes.

        Raises
        ------
        PluginError
            If a name is provided twice, or a hook does not exist or takes other arguments.
        """
        for candidate in discovered:
            plugin = candidate.plugin
            if plugin.broken:
                self.registry.plugins.append(plugin)
                continue
            try:
                module = candidate.load()
                classes = self._provided(module, plugin)
            except pluggy.PluginValidationError as error:
                raise _invalid(plugin, error) from error
            except CONTAINED as error:
                self.registry.plugins.append(replace(plugin, broken=described(error)))
                continue
            self._require_known_hooks(module, plugin)
            self._add(plugin, classes)

    def take(self, module: object) -> None:
        """Register the classes of a module or object with hooks.

        Raises
        ------
        PluginError
            If it has no hooks, a hook fails, or `load` would raise the error.
        """
        plugin = Plugin("", PASSED, getattr(module, "__name__", type(module).__name__), "")
        try:
            classes = self._provided(module, plugin)
        except pluggy.PluginValidationError as error:
            raise _invalid(plugin, error) from error
        except CONTAINED as error:
            raise PluginError(f"plugin {plugin} cannot be used: {described(error)}") from error
        if not self._manager.get_hookcallers(module):
            raise PluginError(
                f"{plugin.distribution!r} has no function marked with `xai_core.hookimpl`; expected a package's name, "
                "or a module or object with such functions. Pass explainers to `explain`, and metrics to `evaluate`"
            )
        self._require_known_hooks(module, plugin)
        self._add(plugin, classes)

    def _provided(self, module: object, plugin: Plugin) -> dict[str, dict[str, type[Any]]]:
        """Call the hooks of one plugin, and return the classes by kind and name.

        Raises
        ------
        PluginContractError
            If a hook returns something other than named subclasses of its base class, or a name twice.
        """
        self._manager.register(module, f"{plugin.distribution}:{plugin.entry_point}:{id(module)}")
        others = [other for other in self._manager.get_plugins() if other is not module]
        provided: dict[str, dict[str, type[Any]]] = {}
        for kind, (hook, base) in KINDS.items():
            provided[kind] = {}
            for made_by in itertools.chain.from_iterable(self._manager.subset_hook_caller(hook, others)()):
                if not (isinstance(made_by, type) and issubclass(made_by, base)):
                    raise PluginContractError(
                        f"{hook} must return subclasses of {base.__name__}; it returned {made_by!r}"
                    )
                name = f"{made_by.__module__}.{made_by.__qualname__}" if kind == "adapters" else checked_name(made_by)
                if name in provided[kind]:
                    raise PluginContractError(f"{hook} returned {name!r} twice; return each class once")
                provided[kind][name] = made_by
        return provided

    def _require_known_hooks(self, module: object, plugin: Plugin) -> None:
        for caller in self._manager.get_hookcallers(module) or []:
            if not caller.has_spec():
                raise PluginError(
                    f"plugin {plugin} implements {caller.name!r}, which is not an extension point; "
                    f"{suggest(caller.name, [hook for hook, _ in KINDS.values()])}"
                )

    def _add(self, plugin: Plugin, provided: dict[str, dict[str, type[Any]]]) -> None:
        self.registry.plugins.append(plugin)
        for kind, classes in provided.items():
            entries = self.registry.entries[kind]
            for name, made_by in classes.items():
                if name in entries:
                    raise PluginError(
                        f"two plugins provide {kind.removesuffix('s')} {name!r}: {entries[name].plugin} and {plugin}; "
                        f"uninstall one of them, or select plugins with {VARIABLE}"
                    )
                entries[name] = Entry(name, made_by, plugin)


def _invalid(plugin: Plugin, error: pluggy.PluginValidationError) -> PluginError:
    return PluginError(f"plugin {plugin} cannot be registered: {message_of(error)}")
