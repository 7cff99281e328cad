"""The output folder of `xai explain`: its settings, the photos that are explained in it, and names for new ones."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xai_core import files
from xai_core.cli.actions.photo_files import Record
from xai_core.data.image_names import stem
from xai_core.errors import FileError

OUT = Path("xai-explain")
SETTINGS = "xai-explain.json"


@dataclass(frozen=True)
class PhotoFolder:
    """An output folder.

    Attributes
    ----------
    path
        The folder.
    settings
        The settings of its results.
    records
        The records of the photos that earlier runs with the same settings explained, by the path of the photo.
    names
        The name of the files of each of these photos.
    """

    path: Path
    settings: Mapping[str, Any]
    records: Mapping[str, Record] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path | None, settings: Mapping[str, Any], overwrite: bool) -> "PhotoFolder":
        """Open a folder for the results of these settings.

        Parameters
        ----------
        path
            The folder. Default: `xai-explain`, or `xai-explain-2` and so on if it contains results of other settings.
        settings
            Everything that the results depend on, except the photos and the methods.
        overwrite
            Whether to replace earlier results.

        Raises
        ------
        FileError
            If the folder contains results of other settings, or is a file.
        """
        folder = _default(settings) if path is None else path
        existing = _read(folder / SETTINGS)
        if existing is not None and existing != settings and not overwrite:
            changed = [name for name in settings if existing.get(name) != settings[name]]
            raise FileError(
                f"{folder} contains results with other settings ({', '.join(changed)}), which would be overwritten; "
                "choose another --out, or add --overwrite"
            )
        if files.is_file(folder):
            raise FileError(f"{folder} is a file; expected a folder")
        if existing is None or overwrite:
            return cls(folder, settings)
        records = {file.stem: _read(file) for file in sorted(folder.glob("*.json")) if file.name != SETTINGS}
        known = {name: record for name, record in records.items() if record is not None and "maps" in record}
        return cls(
            folder,
            settings,
            {record["image"]: record for record in known.values()},
            {record["image"]: name for name, record in known.items()},
        )

    def create(self) -> None:
        """Create the folder and write its settings into it, unless this was done before.

        Raises
        ------
        FileError
            If the folder or the file cannot be written.
        """
        if _read(self.path / SETTINGS) != self.settings:
            files.make_folder(self.path)
            files.write_file(self.path / SETTINGS, json.dumps(self.settings, indent=1))

    def name_photos(self, paths: Sequence[Path], overwrite: bool) -> list[str]:
        """Return a unique name for the files of each photo. Photos of earlier runs keep their names.

        Raises
        ------
        FileError
            If the folder contains files of that name that no earlier run wrote.
        """
        taken = [*self.names.values()]
        new = [path for path in paths if str(path) not in self.names]
        distinct = files.distinct([*taken, *(stem(path.name) for path in new)])[len(taken) :]
        if not overwrite:
            files.require_unused(self._existing(distinct), "--out")
        named = {**self.names, **dict(zip(map(str, new), distinct, strict=True))}
        return [named[str(path)] for path in paths]

    def done(self, photo: Path, digest: str, methods: Iterable[str], page: bool) -> Record | None:
        """Return the record of a photo that an earlier run explained with all these methods, if its files exist.

        If `page` is true, these files include the previews of the page.

        Raises
        ------
        FileError
            If the photo has changed since then.
        """
        record = self.records.get(str(photo))
        if record is None:
            return None
        if record["sha256"] != digest:
            raise FileError(
                f"{photo} has changed since it was explained, and its maps would be overwritten; add --overwrite, or "
                "choose another --out"
            )
        explained = {row["method"] for row in record["maps"]} | {*record["skipped"]}
        kinds = ("overlay", "array", "preview") if page else ("overlay", "array")
        if not all(row.get(kind) for row in record["maps"] for kind in kinds):
            return None
        written = [self.path / row[kind] for row in record["maps"] for kind in kinds]
        return record if explained.issuperset(methods) and all(map(files.is_file, written)) else None

    def _existing(self, names: Sequence[str]) -> list[Path]:
        present = sorted(self.path.iterdir()) if files.is_folder(self.path) else []
        return [file for file in present if any(file.name.startswith(f"{name}.") for name in names)]


def _default(settings: Mapping[str, Any]) -> Path:
    """Return the first default folder that is free or contains results of the same settings."""
    folder, number = OUT, 2
    while files.is_folder(folder) and _read(folder / SETTINGS) != settings:
        folder, number = OUT.with_name(f"{OUT.name}-{number}"), number + 1
    return folder


def _read(path: Path) -> Any:
    """Return the content of a JSON file, or None if it does not exist or is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8")) if files.is_file(path) else None
    except (OSError, ValueError):
        return None
