"""Checks the names and specs of plugin components, which appear in rows, file names and messages."""

import re
from typing import Any

from xai_core.configurable import Configurable
from xai_core.error_text import shown
from xai_core.errors import PluginContractError
from xai_core.files import encodable

LONGEST = 100
_NAME = re.compile(r"[a-z0-9][a-z0-9+.]*(-[a-z0-9+.]+)*")


def checked_name(provided: "type[Any] | Configurable", origin: str = "") -> str:
    """Return the name of a class or an object of a plugin.

    Parameters
    ----------
    provided
        The class or object.
    origin
        The package that provides it, with its version.

    Raises
    ------
    PluginContractError
        If the name is not a string of lower-case words with hyphens.
    """
    name = getattr(provided, "name", None)
    if not (isinstance(name, str) and len(name) <= LONGEST and _NAME.fullmatch(name)):
        raise PluginContractError(
            f"{_class_of(provided, origin)}.name must be lower case with hyphens, such as `grad-cam`, and have at most"
            f" {LONGEST} characters; got {shown(name)}"
        )
    return name


def checked_spec(provided: Configurable, origin: str = "") -> str:
    """Return the spec of an explainer or metric, as text that UTF-8 can encode.

    Raises
    ------
    PluginContractError
        If the spec is not a string.
    """
    spec = provided.spec
    if not isinstance(spec, str):
        raise PluginContractError(f"{_class_of(provided, origin)}.spec must be a string; got {shown(spec)}")
    return encodable(spec)


def _class_of(provided: object, origin: str) -> str:
    made_by = provided if isinstance(provided, type) else type(provided)
    return f"{origin}: {made_by.__name__}" if origin else made_by.__name__
