"""Base class of objects that are created from a name and options."""

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from xai_core.spec import Spec

MADE_OF = frozenset({"explainer", "explainers"})
"""The names of the parameters that receive the methods in the parentheses of a composite method's spec."""


class Configurable:
    """Base class of objects that are created from a name and options, and can return their own spec.

    Each option is a parameter of `__init__` and is stored in an attribute of the same name. The parentheses in the spec
    of a composite method contain the parameter `explainer`, as in `name(spec)`, or `explainers`, as in
    `name(spec,spec)`.
    """

    name: ClassVar[str]
    volumes: bool = False
    """Whether the object supports volumes and clips [B,C,D,H,W] in addition to images [B,C,H,W]."""
    expected_failures: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Conformance checks of `xai_core.testing` that the class fails by design, each with the reason."""

    @property
    def spec(self) -> str:
        """The spec of this object: its name, and the options that differ from their defaults."""
        parameters = inspect.signature(type(self)).parameters.values()
        options = {p.name: getattr(self, p.name, p.default) for p in parameters}
        nested = next((name for name in MADE_OF if name in options), "")
        explainers = options.pop(nested, ())
        explainers = (explainers,) if nested == "explainer" else explainers
        changed = {
            p.name: options[p.name] for p in parameters if p.name != nested and not _same(options[p.name], p.default)
        }
        return str(Spec(self.name, None, changed, tuple(map(_spec_of, explainers))))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.spec}>"


def package_of(created: Configurable) -> str:
    """Return the top-level package or module that defines the class of an object."""
    return type(created).__module__.partition(".")[0]


def _spec_of(explainer: "str | Configurable") -> str:
    return explainer if isinstance(explainer, str) else explainer.spec


def _same(option: object, default: object) -> bool:
    """Return whether an option equals its default. Only text and numbers are compared by value, with their types."""
    is_comparable = isinstance(option, str | int | float) and type(option) is type(default)
    return option is default or (is_comparable and option == default)
