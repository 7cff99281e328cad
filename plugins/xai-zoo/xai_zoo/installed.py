"""Files that other distributions install."""

from importlib import metadata
from pathlib import Path

from xai_core.plugin import FileError


def installed_file(distribution: str, path: str) -> Path:
    """Find a file of an installed distribution by its path below site-packages; nothing is imported.

    Raises
    ------
    FileError
        Where the distribution is not installed, or does not hold the file.
    """
    try:
        installed = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        raise FileError(f"{distribution} is not installed; `pip install {distribution}` brings {path}") from None
    found = Path(str(installed.locate_file(path)))
    if not found.is_file():
        raise FileError(f"{distribution} {installed.version} has no {path}; reinstall it, or take another version")
    return found
