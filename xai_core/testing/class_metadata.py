"""Requirements on the name, spec and docstring of a plugin class."""

import inspect
from collections.abc import Mapping
from typing import Any

from xai_core.configurable import Configurable
from xai_core.errors import PluginContractError, XAIError
from xai_core.plugins.names import checked_name
from xai_core.spec import parse
from xai_core.testing.check import require


def declared_failures(component: object, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Merge the `expected_failures` of an object or class, if it has any, with additional ones."""
    return {**getattr(component, "expected_failures", {}), **(more or {})}


def require_name(component: Any) -> None:
    """Require a name that the plugin registry accepts: lower case with hyphens."""
    try:
        checked_name(component)
    except PluginContractError as error:
        require(False, str(error))


def require_spec(component: Configurable) -> None:
    """Require that each option is stored under its name, so that the spec recreates an equal object."""
    signature = inspect.signature(type(component))
    for parameter in signature.parameters.values():
        require(
            parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD),
            f"`__init__` must declare each option as a named parameter; got *{parameter.name}",
        )
        require(
            hasattr(component, parameter.name),
            f"option {parameter.name!r} must be stored in an attribute of that name: the spec and the manifest of a "
            "benchmark read it",
        )
    spec = parse(component.spec)
    require(
        spec.head == component.name, f"the spec must begin with the name {component.name!r}; got {component.spec!r}"
    )
    if spec.of:
        return
    try:
        copy = type(component)(**spec.options)
    except (TypeError, ValueError, XAIError) as error:
        require(False, f"the spec {component.spec!r} cannot be used to create the object again: {error}")
    else:
        require(
            copy.spec == component.spec,
            f"the object created from the spec {component.spec!r} has a different spec, {copy.spec!r}; store each "
            "option unchanged",
        )


def require_docstring(class_: type[Any]) -> None:
    """Require that the class itself, not only a base class, has a docstring."""
    docstring = class_.__dict__.get("__doc__")
    require(
        bool(docstring and docstring.strip()),
        f"class {class_.__name__} has no docstring of its own; add one: `xai list` shows its first line",
    )
