"""Versions of everything that computes scores."""

import contextlib
import platform
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from xai_core.plugins.registry import registry

_PACKAGES = frozenset({"xai-core", "numpy", "pillow", "scipy", "timm", "torch", "torchvision"})


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages that models, images and scores depend on.

    The packages are xai-core, its plugins, PyTorch, torchvision, timm, NumPy, SciPy and Pillow. The requirements of a
    plugin, such as captum, are included unless xai-core requires them too.
    """
    plugins = {plugin.distribution for plugin in registry().plugins if not plugin.broken}
    required = {name for plugin in plugins for name in _required(plugin)} - _required("xai-core")
    installed = {"python": platform.python_version()}
    for name in sorted(_PACKAGES | plugins | required):
        with contextlib.suppress(PackageNotFoundError):
            installed[name] = version(name)
    return installed


def _required(package: str) -> set[str]:
    """Return the packages that a package requires in this environment, without its extras."""
    with contextlib.suppress(PackageNotFoundError, InvalidRequirement):
        requirements = [Requirement(text) for text in requires(package) or ()]
        return {
            canonicalize_name(requirement.name)
            for requirement in requirements
            if not requirement.marker or requirement.marker.evaluate({"extra": ""})
        }
    return set()
