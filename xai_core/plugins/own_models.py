"""Specs of models that a function of the user builds: `models/mine.py:build` and `package.module:build`."""

import re
from pathlib import Path

from xai_core.errors import UnknownModelError
from xai_core.files import is_file
from xai_core.plugins.registry import current
from xai_core.spec import Spec

SOURCE = "python"
"""The name of the source that calls such functions."""
_FILE = re.compile(r"\.py(:|$)")
_WEIGHTS = {".bin", ".ckpt", ".pt", ".pth", ".safetensors"}
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")


def with_source(spec: Spec) -> Spec:
    """Return a spec that begins with a source. A spec that names a file or module has the source `python`.

    A file is a name that ends in `.py` or contains a path separator. A module is a dotted name before a colon. The
    names of the sources that plugins provide take precedence.

    Raises
    ------
    UnknownModelError
        If the spec names a file or module, and no plugin provides the source `python`. The error is also raised if the
        spec begins with another file or folder, such as a weights file. The message contains the probable spec.
    """
    sources = current().entries["models"]
    if spec.head in sources:
        return spec
    where = spec.head if spec.name is None else f"{spec.head}:{spec.name}"
    if not _names_code(spec, where):
        if hint := _hint(spec.head):
            raise UnknownModelError(f"no model source has the name {spec.head!r}; {hint}")
        return spec
    if SOURCE not in sources:
        raise UnknownModelError(
            f"{where} is a file or module with a model; the source `{SOURCE}` of the package xai-zoo loads it"
        )
    return Spec(SOURCE, where, spec.options)


def _hint(name: str) -> str:
    """Return advice for a name that is a file or folder, or nothing."""
    path = Path(name)
    if is_file(Path(f"{name}.py")):
        return f"did you mean the file `{name}.py`?"
    if is_file(path / "config.json"):
        return f"did you mean `hf:{name}`, which loads the folder with transformers?"
    if path.suffix in _WEIGHTS and is_file(path):
        example = f"`timm:resnet18,weights={name}` or `mine.py:build,weights={name}`"
        return f"it is a weights file, so name the model too, as in {example}"
    return ""


def _names_code(spec: Spec, where: str) -> bool:
    is_path = bool(_FILE.search(where)) or "/" in spec.head or "\\" in spec.head
    is_module = spec.name is not None and bool(_MODULE.fullmatch(spec.head))
    return not spec.of and (is_path or is_module)
