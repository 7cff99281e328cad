"""Names of a model's classes: from a file, or from the option `labels` of a spec."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xai_core.errors import FileError, OptionError
from xai_core.file_limits import file_limit
from xai_core.files import is_file

_MAX_BYTES = 2**24
_EXPECTED = "expected one name per line, a JSON list of names, or a JSON object from class ids to names"


def read_labels(labels: object) -> list[str]:
    """Return the names of the classes, in order of their ids.

    Parameters
    ----------
    labels
        The path of a text file with one name per line, or of a JSON file. It contains a list of names, an object from
        class ids to names, or an object from names to class ids. The names themselves, as a list or joined by `+`, are
        also accepted.

    Raises
    ------
    FileError
        If the file does not exist or cannot be read.
    OptionError
        If the file contains something else, or an id is missing.
    """
    if isinstance(labels, list | tuple):
        return _names(labels, "labels")
    if not isinstance(labels, str | Path):
        raise OptionError(f"labels must be a file or names joined by +, got {labels!r}")
    path = Path(labels).expanduser()
    if not is_file(path):
        if isinstance(labels, str) and "+" in labels:
            return _names(labels.split("+"), "labels")
        raise FileError(f"labels file {path} does not exist; {_EXPECTED}, or names joined by +, such as cat+dog")
    try:
        if path.stat().st_size > (limit := file_limit("XAI_MAX_LABELS_BYTES", _MAX_BYTES)):
            raise OptionError(f"labels file {path} has more than {limit:,} bytes; {_EXPECTED}")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"labels file {path} cannot be read ({error}); {_EXPECTED}") from error
    if path.suffix.lower() == ".json":
        return _from_json(text, path)
    return _names([line.strip() for line in text.rstrip().splitlines()], str(path))


def _from_json(text: str, path: Path) -> list[str]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise OptionError(f"labels file {path} is not JSON ({error}); {_EXPECTED}") from error
    return _names(_in_order(content, path) if isinstance(content, Mapping) else content, str(path))


def _in_order(content: Mapping[str, Any], path: Path) -> list[Any]:
    """Return the names in an object from ids to names, or from names to ids."""
    by_id: dict[Any, Any] = {}
    if all(isinstance(value, int) for value in content.values()):
        by_id = {class_id: name for name, class_id in content.items()}
    else:
        by_id = {int(key) if key.isdecimal() and len(key) < 10 else key: _last(value) for key, value in content.items()}
    missing = [class_id for class_id in range(len(content)) if class_id not in by_id]
    if missing:
        raise OptionError(f"labels file {path} has no name for class {missing[0]}; {_EXPECTED}")
    return [by_id[class_id] for class_id in range(len(content))]


def _last(value: Any) -> Any:
    """Return the readable name of ImageNet's pairs, such as `["n02123045", "tabby"]`."""
    return value[-1] if isinstance(value, list) and value else value


def _names(names: object, origin: str) -> list[str]:
    if not isinstance(names, Sequence) or isinstance(names, str) or not names:
        raise OptionError(f"{origin} contains no class names; {_EXPECTED}")
    for class_id, name in enumerate(names):
        if not isinstance(name, str) or not name:
            raise OptionError(
                f"{origin}: the name of class {class_id} must be a nonempty string, got {name!r}; {_EXPECTED}"
            )
    return [*names]
