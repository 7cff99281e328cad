"""What is promised of everything that is made from a name and options."""

import inspect
from collections.abc import Mapping
from typing import Any

from xai_core.configurable import Configurable
from xai_core.errors import XAIError
from xai_core.plugins.loader import NAME
from xai_core.spec import parse
from xai_core.testing.check import require


def declared(made: object, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The failures that a class declares in `expected_failures`, which not every base has, and more."""
    return {**getattr(made, "expected_failures", {}), **(more or {})}


def require_name(named: Any) -> None:
    """Require a name as the registry takes it."""
    name = getattr(named, "name", None)
    require(
        isinstance(name, str) and bool(NAME.fullmatch(name)),
        f"`name` must be lower case with hyphens, like `grad-cam`; it is {name!r}",
    )


def require_spec(made: Configurable) -> None:
    """Require that options are kept under their names, so that the spec says them and makes the same again."""
    signature = inspect.signature(type(made))
    for parameter in signature.parameters.values():
        require(
            parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD),
            f"options are named parameters of `__init__`, so that they can be listed; it takes *{parameter.name}",
        )
        require(
            hasattr(made, parameter.name),
            f"option {parameter.name!r} must be kept in an attribute of that name, which the spec and the manifest of "
            "a benchmark read",
        )
    spec = parse(made.spec)
    require(spec.head == made.name, f"the spec {made.spec!r} does not begin with the name {made.name!r}")
    if spec.of:
        return
    try:
        again = type(made)(**spec.options)
    except (TypeError, ValueError, XAIError) as error:
        require(False, f"the spec {made.spec!r} does not make it again: {error}")
    else:
        require(again.spec == made.spec, f"made again by its spec {made.spec!r}, it says {again.spec!r}")


def require_docstring(made_by: type[Any]) -> None:
    """Require a first line of a docstring of its own, which `xai list` shows."""
    own = made_by.__dict__.get("__doc__")
    require(
        bool(own and own.strip()),
        f"class {made_by.__name__} has no docstring of its own; its first line is what `xai list` shows",
    )
