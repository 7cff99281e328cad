"""Plugins loaded: what they give, by kind and name; broken ones with their reason."""

import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import pluggy

from xai_core.data.sources import DatasetSource, ModelSource
from xai_core.errors import (
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
from xai_core.spec import suggest

KINDS: dict[str, tuple[str, type]] = {
    "explainers": ("xai_explainers", Explainer),
    "metrics": ("xai_metrics", Metric),
    "adapters": ("xai_adapters", ModelAdapter),
    "models": ("xai_models", ModelSource),
    "datasets": ("xai_datasets", DatasetSource),
}
_UNKNOWN: dict[str, type[XAIError]] = {
    "explainers": UnknownExplainerError,
    "metrics": UnknownMetricError,
    "models": UnknownModelError,
    "datasets": UnknownDatasetError,
}
NAME = re.compile(r"[a-z0-9][a-z0-9+.]*(-[a-z0-9+.]+)*")
GIVEN = "given to the engine"
"""The distribution of a plugin that is an object, which nobody installed."""


@dataclass(frozen=True)
class Entry:
    """Something that a plugin gives: its name, its class, and the plugin."""

    name: str
    made_by: type[Any]
    plugin: Plugin

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return (inspect.getdoc(self.made_by) or "").partition("\n")[0]


@dataclass
class Registry:
    """What some plugins give, by kind and name.

    Attributes
    ----------
    plugins
        Those that were loaded, and those that are broken.
    left_out
        Those that are installed and were left alone, because `XAI_PLUGINS` does not choose them.
    of_engine
        Whether these are the plugins that one engine was restricted to.
    """

    plugins: list[Plugin] = field(default_factory=list)
    entries: dict[str, dict[str, Entry]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    left_out: list[Plugin] = field(default_factory=list)
    of_engine: bool = False

    def find(self, kind: str, name: str) -> Entry:
        """Look a name up.

        Raises
        ------
        UnknownExplainerError, UnknownMetricError, UnknownModelError, UnknownDatasetError
            Where no plugin gives it; the message suggests close names and mentions plugins that are broken or left out.
        """
        try:
            return self.entries[kind][name]
        except KeyError:
            raise _UNKNOWN[kind](self._unknown(kind, name)) from None

    def entry_of(self, made: object) -> Entry | None:
        """What a plugin gives an object as, by its class; None where the class is a user's own."""
        for entries in self.entries.values():
            entry = entries.get(getattr(made, "name", ""))
            if entry is not None and entry.made_by is type(made):
                return entry
        return None

    def _unknown(self, kind: str, name: str) -> str:
        what, close = f"{kind.removesuffix('s')} {name!r}", suggest(name, self.entries[kind])
        if self.of_engine:
            given = ", ".join(dict.fromkeys(plugin.release for plugin in self.plugins)) or "none"
            return (
                f"this engine was restricted to some plugins, {given}, and none of them gives {what}; {close} Add the"
                " plugin that does to `plugins=`, or leave that out to look in all that are installed"
            )
        broken = [f"{plugin.distribution} ({plugin.broken})" for plugin in self.plugins if plugin.broken]
        left_out = [*dict.fromkeys(plugin.distribution for plugin in self.left_out)]
        also = f" Plugins that failed to load: {'; '.join(broken)}." if broken else ""
        also += f" {VARIABLE}={chosen_by_environment()} leaves out: {', '.join(left_out)}." if left_out else ""
        listed = "methods" if kind == "explainers" else kind
        return f"no installed plugin gives {what}; {close} `xai list {listed}` shows all.{also}"


class Loader:
    """Fills a registry with what plugins give.

    Two plugins that give one name, or a plugin that implements a hook that does not exist, are an error. A plugin that
    fails to import is kept with its reason, and everything else works.
    """

    def __init__(self) -> None:
        self.registry = Registry()
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(hookspecs)

    def load(self, found: Iterable[DiscoveredPlugin]) -> None:
        """Import plugins, but for those that are not made for this xai-core, and take what they give.

        Raises
        ------
        PluginError
            Where a name is given twice, or a hook does not exist or takes other arguments.
        """
        for one in found:
            if one.plugin.broken:
                self.registry.plugins.append(one.plugin)
                continue
            try:
                module = one.load()
            except (Exception, SystemExit) as error:
                self._keep_broken(one.plugin, error)
                continue
            self._register(module, one.plugin)
            try:
                given = self._given(module)
            except Exception as error:
                self._keep_broken(one.plugin, error)
                continue
            self._add(one.plugin, given)

    def take(self, module: object) -> None:
        """Take what a module, or an object, with hooks of its own gives.

        Raises
        ------
        PluginError
            Where it has no hooks, or one of them fails, and as `load`.
        """
        plugin = Plugin("", getattr(module, "__name__", type(module).__name__), GIVEN, "")
        self._register(module, plugin)
        if not self._manager.get_hookcallers(module):
            raise PluginError(
                f"{plugin.module!r} has no function marked with `xai_core.hookimpl`; expected a distribution's name,"
                " or a module or object with such functions (explainers and metrics go to `explain` and `evaluate`)"
            )
        try:
            given = self._given(module)
        except Exception as error:
            raise PluginError(f"plugin {plugin} does not work: {_reason(error)}") from error
        self._add(plugin, given)

    def _register(self, module: object, plugin: Plugin) -> None:
        try:
            self._manager.register(module, f"{plugin.distribution}:{plugin.entry_point}:{id(module)}")
        except (pluggy.PluginValidationError, ValueError) as error:
            raise PluginError(f"plugin {plugin} cannot be registered: {error}") from error
        for caller in self._manager.get_hookcallers(module) or []:
            if not caller.has_spec():
                raise PluginError(
                    f"plugin {plugin} implements {caller.name!r}, which is not an extension point; "
                    f"{suggest(caller.name, [hook for hook, _ in KINDS.values()])}"
                )

    def _given(self, module: object) -> dict[str, list[type[Any]]]:
        """The classes of each kind that one plugin gives."""
        others = [plugin for plugin in self._manager.get_plugins() if plugin is not module]
        given: dict[str, list[type[Any]]] = {}
        for kind, (hook, base) in KINDS.items():
            answers = self._manager.subset_hook_caller(hook, others)()
            given[kind] = [made_by for answer in answers for made_by in answer]
            for made_by in given[kind]:
                if not (isinstance(made_by, type) and issubclass(made_by, base)):
                    raise PluginError(f"{hook} must return subclasses of {base.__name__}, it gave {made_by!r}")
                if kind != "adapters" and not NAME.fullmatch(getattr(made_by, "name", "")):
                    raise PluginError(f"{made_by.__name__}.name must be lower case with hyphens, like `grad-cam`")
        return given

    def _add(self, plugin: Plugin, given: dict[str, list[type[Any]]]) -> None:
        self.registry.plugins.append(plugin)
        for kind, classes in given.items():
            entries = self.registry.entries[kind]
            for made_by in classes:
                name = getattr(made_by, "name", "") or f"{made_by.__module__}.{made_by.__qualname__}"
                if name in entries:
                    raise PluginError(
                        f"two plugins give {kind.removesuffix('s')} {name!r}: {entries[name].plugin} and {plugin}; "
                        f"uninstall one of them, or choose with {VARIABLE}"
                    )
                entries[name] = Entry(name, made_by, plugin)

    def _keep_broken(self, plugin: Plugin, error: BaseException) -> None:
        self.registry.plugins.append(replace(plugin, broken=_reason(error)))


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
