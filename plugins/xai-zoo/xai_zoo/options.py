"""Checks of options that several sources share."""

from collections.abc import Collection
from pathlib import Path

from xai_core.plugin import OptionError


def check_whole(source: str, least: int, **options: object) -> None:
    """Refuse options that are not whole numbers from `least` up."""
    for option, value in options.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise OptionError(f"{source}: {option}={value!r} is not a whole number from {least} up")


def check_one_of(source: str, known: Collection[object], **options: object) -> None:
    """Refuse options that are none of the known values."""
    for option, value in options.items():
        if value not in known:
            raise OptionError(f"{source}: {option}={value!r} is not one of {', '.join(map(str, known))}")


def check_flag(source: str, **options: object) -> None:
    """Refuse options that are neither true nor false."""
    for option, value in options.items():
        if not isinstance(value, bool):
            raise OptionError(f"{source}: {option}={value!r} is not true or false")


def given_folder(expected: str, name: str | None, path: str | Path | None) -> Path:
    """The folder that a spec names, or `path=` gives; refuse where neither or both do, and say what was expected."""
    if name is None and path is None:
        raise OptionError(f"no folder is given; expected `{expected}`")
    if name is not None and path is not None:
        raise OptionError(f"two folders are given, {name} and path={path}; expected one of them")
    return given_path("path", name if path is None else path)


def given_path(option: str, path: object) -> Path:
    """The path that an option gives, wherever the process goes from here; refuse what a spec has read as a number."""
    if not isinstance(path, str | Path):
        raise OptionError(f'{option}={path!r} is not a path; expected text: {option}="{path}" in quotes, or ./{path}')
    return Path(path).expanduser().absolute()
