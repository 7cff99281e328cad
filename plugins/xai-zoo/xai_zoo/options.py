"""Checks of options, shared by several sources."""

from collections.abc import Collection
from pathlib import Path

from xai_core.plugin import OptionError


def check_whole(source: str, least: int, **options: object) -> None:
    """Require integers of at least `least`."""
    for option, value in options.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise OptionError(f"{source}: expected {option} as an integer of at least {least}, got {value!r}")


def check_one_of(source: str, known: Collection[object], **options: object) -> None:
    """Require one of the known values."""
    for option, value in options.items():
        if value not in known:
            raise OptionError(f"{source}: expected {option} as one of {', '.join(map(str, known))}, got {value!r}")


def check_flag(source: str, **options: object) -> None:
    """Require true or false."""
    for option, value in options.items():
        if not isinstance(value, bool):
            raise OptionError(f"{source}: expected {option} as true or false, got {value!r}")


def given_folder(expected: str, name: str | None, path: str | Path | None) -> Path:
    """Return the folder of a spec, from its name or from `path=`. Exactly one of them is required."""
    if name is None and path is None:
        raise OptionError(f"the folder is missing; expected `{expected}`")
    if name is not None and path is not None:
        raise OptionError(f"expected one folder, got two: {name} and path={path}")
    return given_path("path", name if path is None else path)


def given_path(option: str, path: object) -> Path:
    """Return the absolute path of an option. Values that a spec parses as numbers raise an error."""
    if not isinstance(path, str | Path):
        raise OptionError(f'expected a path for {option}, got {path!r}; write {option}="{path}" in quotes, or ./{path}')
    return Path(path).expanduser().absolute()
