"""Specs of models that a function of the user builds: `models/mine.py:build` and `package.module:build`."""

import re
from pathlib import Path

from xai_core.errors import UnknownModelError
from xai_core.plugins.registry import current
from xai_core.spec import Spec, close_names

SOURCE = "python"
"""The name of the source that calls such functions."""
_FILE = re.compile(r"\.py(:|$)")
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")


def with_source(spec: Spec) -> Spec:
    """Return a spec that begins with a source. A spec that names a file or module has the source `python`.

    A file is a name that ends in `.py` or contains a path separator. A module is a dotted name before a colon. The
    names of the sources that plugins provide take precedence.

    Raises
    ------
    UnknownModelError
        If the spec names a file or module, and no plugin provides the source `python`. Also if the spec begins with the
        name of a file without `.py`.
    """
    sources = current().entries["models"]
    if spec.head in sources:
        return spec
    where = spec.head if spec.name is None else f"{spec.head}:{spec.name}"
    if not _names_code(spec, where):
        if not close_names(spec.head, sources, cutoff=0.8) and Path(f"{spec.head}.py").is_file():
            raise UnknownModelError(f"no source has the name {spec.head!r}; did you mean the file `{spec.head}.py`?")
        return spec
    if SOURCE not in sources:
        raise UnknownModelError(
            f"{where} is a file or module with a model; the source `{SOURCE}` of the package xai-zoo loads it"
        )
    return Spec(SOURCE, where, spec.options)


def _names_code(spec: Spec, where: str) -> bool:
    is_file = bool(_FILE.search(where)) or "/" in spec.head or "\\" in spec.head
    is_module = spec.name is not None and bool(_MODULE.fullmatch(spec.head))
    return not spec.of and (is_file or is_module)
