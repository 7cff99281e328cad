"""Checks of options that are paths."""

from pathlib import Path

from xai_core.plugin import OptionError


def check_folder(expected: str, name: str | None, path: str | Path | None) -> Path:
    """Return the folder of a spec, from its name or from `path=`. Exactly one of them is required."""
    if name is None and path is None:
        raise OptionError(f"the folder is missing; expected `{expected}`")
    if name is not None and path is not None:
        raise OptionError(f"expected one folder, got two: {name} and path={path}")
    return check_path("path", name if path is None else path)


def check_path(option: str, path: object) -> Path:
    """Return the absolute path of an option. Values that a spec parses as numbers raise an error."""
    if not isinstance(path, str | Path):
        raise OptionError(f'{option} must be a path, got {path!r}; write {option}="{path}" in quotes, or ./{path}')
    return Path(path).expanduser().absolute()
