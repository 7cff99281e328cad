"""Installed plugins: which there are, which of them the environment chooses, and which are made for this xai-core."""

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
"""The environment variable that says which plugins are loaded: `off`, or distributions separated by commas."""


@dataclass(frozen=True)
class Plugin:
    """An installed plugin: its entry point, its distribution, and why it does not work, if it does not.

    One that was given to an engine as an object has no entry point and no version.
    """

    entry_point: str
    module: str
    distribution: str
    version: str
    broken: str | None = None

    @property
    def release(self) -> str:
        """Its distribution and version, `their-cam 2.3`."""
        return f"{self.distribution} {self.version}".rstrip()

    def __str__(self) -> str:
        return f"{self.release} ({self.module})"


@dataclass(frozen=True)
class DiscoveredPlugin:
    """A plugin that may be loaded, and what imports it; or one that may not, with its reason."""

    plugin: Plugin
    load: Callable[[], object]


def installed() -> list[DiscoveredPlugin]:
    """Every installed plugin, in the order of the distributions' names; nothing is imported."""
    points = {(point.name, point.value): point for point in entry_points(group=GROUP)}
    return [_found(point) for point in sorted(points.values(), key=lambda p: (_distribution(p), p.name))]


def chosen_by_environment() -> str:
    """What `XAI_PLUGINS` says; nothing where it is not set or empty, so that all plugins are loaded."""
    return os.environ.get(VARIABLE, "").strip()


def of_environment(found: Iterable[DiscoveredPlugin]) -> list[DiscoveredPlugin]:
    """Those that `XAI_PLUGINS` chooses.

    Raises
    ------
    PluginError
        Where it names a distribution that is not installed, or that gives no plugin.
    """
    said = chosen_by_environment()
    if said.lower() == "off":
        return []
    names = [name.strip() for name in said.split(",") if name.strip()]
    return of_distributions(found, names, f"{VARIABLE}={said}") if names else [*found]


def of_distributions(found: Iterable[DiscoveredPlugin], names: Iterable[str], said: str) -> list[DiscoveredPlugin]:
    """Those of some distributions, whose names are compared as PyPI does: `my_cam` is `My-Cam`.

    Raises
    ------
    PluginError
        Where one of the names is no distribution's; the message begins with what was `said`.
    """
    by_name: dict[str, list[DiscoveredPlugin]] = {}
    for one in found:
        by_name.setdefault(canonicalize_name(one.plugin.distribution), []).append(one)
    wanted = {canonicalize_name(name): name for name in names}
    for canonical, name in wanted.items():
        if canonical not in by_name:
            there = ", ".join(by_name) or "none"
            raise PluginError(f"{said} names {name!r}, which is no distribution with a plugin here; there are: {there}")
    return [one for name, ones in by_name.items() if name in wanted for one in ones]


def _found(point: EntryPoint) -> DiscoveredPlugin:
    return DiscoveredPlugin(Plugin(point.name, point.value, *_distribution(point), _unfit(point)), point.load)


def _distribution(point: EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else ("unknown distribution", "?")


def _unfit(point: EntryPoint) -> str | None:
    """Why a plugin is not for the xai-core that is installed, by the requirements of its own distribution."""
    with contextlib.suppress(PackageNotFoundError):
        ours = version("xai-core")
        for text in (point.dist.requires if point.dist else None) or ():
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                continue
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            named = canonicalize_name(requirement.name) == "xai-core"
            if named and applies and not requirement.specifier.contains(ours, prereleases=True):
                assert point.dist
                return (
                    f"needs xai-core{requirement.specifier}, this is {ours}; install a {point.dist.name} for it, or an"
                    f" xai-core that it is for: `pip install --upgrade {point.dist.name} xai-core`"
                )
    return None
