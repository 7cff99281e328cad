"""Modules that import each of their names when the name is first used (PEP 562)."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(module: str, sources: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and `__dir__` of a module whose names come from other modules of the package.

    Parameters
    ----------
    module
        `__name__` of the module.
    sources
        For each name, the module of `xai_core` that defines it, such as `capture.needs`.
    """

    def get(name: str) -> Any:
        if name not in sources:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        value = getattr(import_module(f"xai_core.{sources[name]}"), name)
        setattr(sys.modules[module], name, value)  # the next use does not call `__getattr__`
        return value

    return get, lambda: sorted(sources)
