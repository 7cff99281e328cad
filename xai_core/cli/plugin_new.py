"""`xai plugin new`: a distribution of a plugin that passes its own tests, to be changed into another.

The templates are such distributions themselves, with words in them that are replaced; a leading `dot_` of a file or
folder becomes a dot.
"""

import datetime
import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from enum import StrEnum
from importlib.metadata import distributions, requires, version
from keyword import iskeyword
from pathlib import Path
from typing import Annotated

import typer
from packaging.requirements import Requirement
from packaging.utils import InvalidName, canonicalize_name
from packaging.version import Version

from xai_core import files
from xai_core.cli.console import counted, say
from xai_core.errors import FileError, OptionError
from xai_core.plugins.registry import registry

TEMPLATES = Path(__file__).parent / "templates"


class Kind(StrEnum):
    """What a plugin gives."""

    explainer = "explainer"
    metric = "metric"
    adapter = "adapter"
    model = "model"
    dataset = "dataset"


class License(StrEnum):
    """Under which terms others may use it."""

    mit = "mit"
    apache = "apache-2.0"
    bsd = "bsd-3-clause"
    none = "none"


PURPOSES = {
    Kind.explainer: "An explainer",
    Kind.metric: "A metric",
    Kind.adapter: "An adapter",
    Kind.model: "A source of models",
    Kind.dataset: "A source of data",
}
SPDX = {
    License.mit: "MIT",
    License.apache: "Apache-2.0",
    License.bsd: "BSD-3-Clause",
    License.none: "LicenseRef-All-Rights-Reserved",
}


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the distribution and of what it gives: my-cam.")],
    kind: Annotated[Kind, typer.Option(help="What the plugin gives.")] = Kind.explainer,
    into: Annotated[Path, typer.Option(metavar="DIR", help="Where its folder is made.")] = Path(),
    license: Annotated[License, typer.Option(help="Its license.")] = License.mit,
    author: Annotated[str, typer.Option(metavar="NAME", help="Who holds the rights.  [default: its authors]")] = "",
) -> None:
    """Begin a plugin: a distribution with a working example, and tests that pass.

    Nothing that is there already is written over.
    """
    name = checked_name(name, kind)
    author = author or f"The {name} authors"
    if not author.isprintable() or set(author) & set('"\\'):
        raise OptionError(f"--author {author!r}: expected a name without quotes, backslashes and line breaks")
    if into.exists() and not into.is_dir():
        raise FileError(f"{into} is a file; give a folder")
    folder = into / name
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise FileError(f"{folder} exists already; take another name, or give another folder with --into")
    words = {
        "new-plugin": name,
        "new_plugin": name.replace("-", "_"),
        "NewPlugin": "".join(part.capitalize() for part in name.split("-")),
        "NEW_PURPOSE": PURPOSES[kind],
        "NEW_LICENSE": SPDX[license],
        "NEW_AUTHOR": author,
        "NEW_YEAR": f"{datetime.date.today().year}",
        "NEW_REQUIREMENT": requirement(version("xai-core")),
    }
    made = {folder / replaced(path, words): replaced(text, words) for path, text in template(kind, license)}
    for path, text in made.items():
        files.make_folder(path.parent)
        files.write(path, text.encode())
    where = shlex.quote(str(folder))
    installer = "python -m pip" if importlib.util.find_spec("pip") else "uv pip"
    say(f"{counted(len(made), 'file')} in {folder}, with an example that works as it is. Next:")
    say(f"  {installer} install --editable {where} pytest\n  python -m pytest {where}\n  xai plugin check {name}")


def template(kind: Kind, license: License) -> Iterator[tuple[str, str]]:
    """The files of a plugin, by their path in its folder, with words to be replaced."""
    for folder in (TEMPLATES / "common", TEMPLATES / kind):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                parts = (re.sub("^dot_", ".", part) for part in path.relative_to(folder).parts)
                yield "/".join(parts), path.read_text(encoding="utf-8")
    if license is not License.none:
        yield "LICENSE", (TEMPLATES / "licenses" / f"{license}.txt").read_text(encoding="utf-8")


def replaced(text: str, words: Mapping[str, str]) -> str:
    """Replace each word wherever it is."""
    return re.sub("|".join(words), lambda found: words[found[0]], text)


def requirement(release: str) -> str:
    """The releases of xai-core that a plugin made now is for: those until the next that may break it."""
    running = Version(release)
    if running.major:
        return f"xai-core>={running.major}.{running.minor},<{running.major + 1}"
    return f"xai-core>=0.{running.minor},<0.{running.minor + 1}"


def checked_name(given: str, kind: Kind) -> str:
    """The name as PyPI normalizes it.

    Raises
    ------
    OptionError
        Where it is no name of a distribution, of a package or of what a plugin gives, or is taken.
    """
    try:
        name = str(canonicalize_name(given, validate=True))
    except InvalidName:
        raise OptionError(f"{given!r} is no name of a distribution; expected letters, digits and hyphens") from None
    package = name.replace("-", "_")
    if not package.isidentifier():
        raise OptionError(f"{given!r} makes no Python package, since {package!r} is no identifier; begin with a letter")
    if package in sys.stdlib_module_names or iskeyword(package):
        raise OptionError(f"{package!r} is a word or a module of Python itself; take another name")
    installed = {canonicalize_name(one.name) for one in distributions() if one.name}
    ours = {canonicalize_name(Requirement(one).name) for one in requires("xai-core") or ()}
    if name in installed | ours or package == "tests":
        raise OptionError(f"a distribution {name!r} exists already; take another name")
    if importlib.util.find_spec(package) is not None:
        raise OptionError(f"a module {package!r} is installed already; take another name")
    gives = "models" if kind is Kind.adapter else f"{kind}s"
    if name in registry().entries[gives]:
        taken = registry().entries[gives][name]
        raise OptionError(f"{taken.plugin.release} gives {gives.removesuffix('s')} {name!r} already; take another name")
    return name
