"""Installed plugins: which exist, which of them `XAI_PLUGINS` selects, and which support this version of xai-core."""

import contextlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from xai_core.errors import PluginError

GROUP = "xai_core"
VARIABLE = "XAI_PLUGINS"
"""The environment variable that selects the plugins to load: `off`, or packages separated by commas."""


@dataclass(frozen=True)
class Plugin:
    """An installed plugin, or an object that was passed to an engine as a plugin.

    Attributes
    ----------
    entry_point
        The name of its entry point, empty for an object.
    module
        The module that the entry point names.
    distribution
        The name of its package (distribution).
    version
        The version of its package, empty for an object.
    broken
        Why the plugin cannot be used, or None if it can.
    """

    entry_point: str
    module: str
    distribution: str
    version: str
    broken: str | None = None

    @property
    def release(self) -> str:
        """The package and its version, such as `their-cam 2.3`."""
        return f"{self.distribution} {self.version}".rstrip()

    def __str__(self) -> str:
        return f"{self.release} ({self.module})"


@dataclass(frozen=True)
class DiscoveredPlugin:
    """A plugin that was found, and a function that imports it."""

    plugin: Plugin
    load: Callable[[], object]


def installed() -> list[DiscoveredPlugin]:
    """Return all installed plugins, sorted by the name of their package, without importing them."""
    points = {(point.name, point.value): point for point in entry_points(group=GROUP)}
    ordered = sorted(points.values(), key=lambda point: (_distribution(point), point.name))
    return [DiscoveredPlugin(_plugin(point), point.load) for point in ordered]


def chosen_by_environment() -> str:
    """Return the value of `XAI_PLUGINS`. It is empty if the variable is not set, and then all plugins are loaded."""
    return os.environ.get(VARIABLE, "").strip()


def of_environment(discovered: Iterable[DiscoveredPlugin]) -> list[DiscoveredPlugin]:
    """Return the plugins that `XAI_PLUGINS` selects.

    Raises
    ------
    PluginError
        If it names a package that is not installed or has no plugin.
    """
    chosen = chosen_by_environment()
    if chosen.lower() == "off":
        return []
    names = [name.strip() for name in chosen.split(",") if name.strip()]
    return of_distributions(discovered, names, f"{VARIABLE}={chosen}") if names else [*discovered]


def of_distributions(
    discovered: Iterable[DiscoveredPlugin], names: Iterable[str], setting: str
) -> list[DiscoveredPlugin]:
    """Return the plugins of some packages. Names are compared as on PyPI: `my_cam` is `My-Cam`.

    Raises
    ------
    PluginError
        If a name is not the name of a package with a plugin. The message begins with `setting`.
    """
    by_distribution: dict[str, list[DiscoveredPlugin]] = {}
    for candidate in discovered:
        by_distribution.setdefault(canonicalize_name(candidate.plugin.distribution), []).append(candidate)
    wanted = {canonicalize_name(name): name for name in names}
    for canonical, name in wanted.items():
        if canonical not in by_distribution:
            known = ", ".join(by_distribution) or "none"
            raise PluginError(
                f"{setting} names {name!r}, which is not an installed package with a plugin; expected one of: {known}"
            )
    return [plugin for name, plugins in by_distribution.items() if name in wanted for plugin in plugins]


def _plugin(point: EntryPoint) -> Plugin:
    return Plugin(point.name, point.value, *_distribution(point), _incompatibility(point))


def _distribution(point: EntryPoint) -> tuple[str, str]:
    """Return the name and version of the package, also if its metadata is damaged."""
    name, version = (point.dist.name, point.dist.version) if point.dist else (None, None)
    return name or "unknown distribution", version or "?"


def _incompatibility(point: EntryPoint) -> str | None:
    """Return why a plugin does not support the installed xai-core, according to the requirements of its package."""
    with contextlib.suppress(PackageNotFoundError):
        own_version = version("xai-core")
        for text in (point.dist.requires if point.dist else None) or ():
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                continue
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            is_core = canonicalize_name(requirement.name) == "xai-core"
            if is_core and applies and not requirement.specifier.contains(own_version, prereleases=True):
                assert point.dist
                return (
                    f"needs xai-core{requirement.specifier}, but {own_version} is installed; install versions that are"
                    f" compatible: `pip install --upgrade {point.dist.name} xai-core`"
                )
    return None
