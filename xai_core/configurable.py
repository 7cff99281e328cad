"""Base class of objects that are created from a name and options."""

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from xai_core.spec import Spec, write_value

MADE_OF = frozenset({"explainer", "explainers"})
"""The parameters that hold what an explainer is made of."""


class Configurable:
    """Something made from a name and options, which can say its own spec.

    An option is a parameter of `__init__`, kept in an attribute of the same name. A parameter `explainer`, or a list
    `explainers`, is what `name(spec)`, or `name(spec,spec)`, has in its parentheses.
    """

    name: ClassVar[str]
    expected_failures: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Checks of `xai_core.testing` that it cannot pass by its nature, each with the reason."""

    @property
    def spec(self) -> str:
        """The spec that makes this object: its name and the options that differ from their defaults."""
        parameters = inspect.signature(type(self)).parameters.values()
        given = {p.name: getattr(self, p.name, p.default) for p in parameters}
        of = next((name for name in MADE_OF if name in given), "")
        made_of = given.pop(of, ())
        made_of = (made_of,) if of == "explainer" else made_of
        options = {p.name: given[p.name] for p in parameters if p.name != of and not _same(given[p.name], p.default)}
        return str(Spec(self.name, None, options, tuple(map(write_value, made_of))))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.spec}>"


def _same(option: object, default: object) -> bool:
    """Whether an option is as it is by default: the same text or number, or the same object."""
    alike = isinstance(option, str | int | float) and type(option) is type(default)
    return option is default or (alike and option == default)
