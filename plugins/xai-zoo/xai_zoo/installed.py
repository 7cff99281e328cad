"""Files of other installed packages."""

from importlib import metadata
from pathlib import Path

from xai_core.plugin import FileError


def installed_file(distribution: str, path: str, command: str | None = None) -> Path:
    """Return the path of a file of an installed package, relative to site-packages, without an import.

    `command` installs the package. The default is `pip install` with the name of the package.

    Raises
    ------
    FileError
        If the package is not installed, or does not contain the file.
    """
    command = command or f"pip install {distribution}"
    try:
        installed = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        raise FileError(f"the package {distribution} with {path} is not installed; run `{command}`") from None
    found = Path(str(installed.locate_file(path)))
    if not found.is_file():
        raise FileError(
            f"{distribution} {installed.version} contains no {path}; reinstall it or another version: `{command}`"
        )
    return found
