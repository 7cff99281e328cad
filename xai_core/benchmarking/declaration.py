"""Declaration of one setting, and the check of its value."""

import math
import operator
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass
from pathlib import Path
from typing import Any, SupportsIndex, get_args

from xai_core.errors import OptionError


@dataclass(frozen=True)
class Declaration:
    """Description of a setting for the command line, the documentation and the check of its value.

    Attributes
    ----------
    help
        Help text that can be understood without the name of the setting.
    metavar
        Placeholder of the value in the help of the command line.
    option
        Name of the command-line option, if it differs from the name of the setting.
    several
        Whether the setting has several values.
    objects
        Whether Python code may pass objects instead of specs.
    choices
        The allowed values, or empty if any value of the type is allowed.
    minimum
        Smallest allowed integer.
    default_help
        Description of the default, if the value does not describe itself.
    """

    help: str
    metavar: str | None = None
    option: str = ""
    several: bool = False
    objects: bool = False
    choices: tuple[str, ...] = ()
    minimum: int = 0
    default_help: str = ""


def declare(help: str, **attributes: Any) -> Mapping[str, Declaration]:
    """Return the metadata that makes a field of a dataclass a setting, with the attributes of `Declaration`."""
    return {"declaration": Declaration(help, **attributes)}


def declaration(setting: Field[Any]) -> Declaration:
    """Return the declaration of a field whose metadata `declare` made."""
    declared: Declaration = setting.metadata["declaration"]
    return declared


def value_type(setting: Field[Any]) -> type:
    """Return the type of a setting's value, or of each of its values: `str`, `int`, `float`, `bool` or `Path`.

    A setting that takes specs or objects has the type `str`.
    """
    if isinstance(setting.type, str):  # the classes of the objects are not imported
        return str
    first, *_ = get_args(setting.type) or (setting.type,)
    assert isinstance(first, type)
    return first


def default_text(setting: Field[Any]) -> str:
    """Describe the default of a setting. The text is empty if the setting is required."""
    declared = declaration(setting)
    if declared.default_help or setting.default is MISSING:
        return declared.default_help
    if isinstance(setting.default, bool):
        return "yes" if setting.default else "no"
    values = setting.default if declared.several else (setting.default,)
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)


def checked_value(setting: Field[Any], value: Any) -> Any:
    """Return a value as the declared type.

    Raises
    ------
    OptionError
        If the value has another type, or is not allowed.
    """
    name, declared, kind = setting.name, declaration(setting), value_type(setting)
    if declared.objects or declared.several or (value is None and setting.default is None):
        return value
    if declared.choices and value not in declared.choices:
        raise OptionError(f"{name}={value!r} is not one of {', '.join(declared.choices)}")
    if kind is bool and not isinstance(value, bool):
        raise OptionError(f"{name}={value!r} is not a boolean; expected true or false")
    if kind is int:
        return _integer(name, value, declared.minimum)
    if kind is float:
        return _positive(name, value)
    if kind is Path:
        return _path(name, value)
    if kind is str and not isinstance(value, str):
        raise OptionError(f"{name}={short_repr(value)} has the type {type(value).__name__}; expected a string")
    return value


def _integer(name: str, value: object, minimum: int) -> int:
    """Convert an integer, which may be a NumPy integer, to a Python int."""
    number = operator.index(value) if isinstance(value, SupportsIndex) and not isinstance(value, bool) else None
    if number is None or number < minimum:
        raise OptionError(f"{name}={short_repr(value)} is out of range; expected an integer of at least {minimum}")
    return number


def _positive(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise OptionError(f"{name}={short_repr(value)} is out of range; expected a positive number")
    return float(value)  # so that 60 and 60.0 are the same run


def _path(name: str, value: object) -> Path:
    if not isinstance(value, str | Path) or not str(value):
        raise OptionError(f"{name}={short_repr(value)} is not a path; expected the path of a folder")
    return Path(value)


def short_repr(value: object) -> str:
    """Return the `repr` of a value, in one line of at most 40 characters."""
    text = " ".join(repr(value).split())
    return text if len(text) < 40 else f"{text[:37]}..."
