"""BibTeX entries of methods and metrics, from the file `references.bib` of each plugin's package.

The field `keywords` of an entry lists the names of the methods and metrics that the publication defines.
"""

import contextlib
import importlib.util
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xai_core.errors import SpecError
from xai_core.plugins.discovery import installed
from xai_core.spec import parse

FILE = "references.bib"
_ENTRY = re.compile(r"^@\w+\{([^,\s]+),\n.*?^\}$", re.MULTILINE | re.DOTALL)
_KEYWORDS = re.compile(r"^ *keywords *= *\{(.*?)\}", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Reference:
    """A BibTeX entry: its key, its text, and the methods and metrics that the publication defines."""

    key: str
    text: str
    names: frozenset[str]


def names_in(specs: Iterable[str]) -> list[str]:
    """Return the names of methods and metrics in specs, each once. Composite methods are followed by their parts."""
    return [*dict.fromkeys(name for spec in specs for name in _names(spec))]


def find_references(names: Iterable[str]) -> Mapping[str, Sequence[Reference]]:
    """Return the references of each method or metric by name. Names without a reference have an empty list.

    The installed plugins are searched. They are not imported.
    """
    references = [*_references()]
    return {name: [each for each in references if name in each.names] for name in names}


def bibtex(found: Mapping[str, Sequence[Reference]]) -> str:
    """Return a BibTeX file with the entries, each once, sorted by key."""
    entries = {reference.key: reference.text for of_name in found.values() for reference in of_name}
    return "\n\n".join(entries[key] for key in sorted(entries)) + "\n"


def _names(spec: str) -> Iterator[str]:
    try:
        parsed = parse(spec)
    except SpecError:  # the name of an object
        return
    yield parsed.head
    for part in parsed.of:
        yield from _names(part)


def _references() -> Iterator[Reference]:
    packages = {candidate.plugin.module.partition(":")[0].partition(".")[0] for candidate in installed()}
    for package in sorted(packages):
        with contextlib.suppress(ImportError, OSError, ValueError):
            spec = importlib.util.find_spec(package)
            for folder in (spec and spec.submodule_search_locations) or ():
                path = Path(folder) / FILE
                if path.is_file():
                    yield from _entries(path.read_text(encoding="utf-8"))


def _entries(text: str) -> Iterator[Reference]:
    for entry in _ENTRY.finditer(text):
        keywords = _KEYWORDS.search(entry[0])
        names = keywords[1].split(",") if keywords else ()
        yield Reference(entry[1], entry[0], frozenset(name.strip() for name in names))
