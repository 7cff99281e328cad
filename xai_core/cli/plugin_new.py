"""`xai plugin new`: a package with a working example of a plugin and with tests that pass.

The templates are complete packages. Some of their words are placeholders that are replaced. A leading `dot_` of a file
or folder name becomes a dot.
"""

import datetime
import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from enum import StrEnum
from keyword import iskeyword
from pathlib import Path
from typing import Annotated

import typer

from xai_core.errors import FileError, OptionError

TEMPLATES = Path(__file__).parent / "templates"


class Kind(StrEnum):
    """Kind of component that a plugin provides."""

    explainer = "explainer"
    metric = "metric"
    adapter = "adapter"
    model = "model"
    dataset = "dataset"


class License(StrEnum):
    """License of the package."""

    mit = "mit"
    apache = "apache-2.0"
    bsd = "bsd-3-clause"
    none = "none"


PURPOSES = {
    Kind.explainer: "An explainer",
    Kind.metric: "A metric",
    Kind.adapter: "A model adapter",
    Kind.model: "A model source",
    Kind.dataset: "A dataset source",
}
SPDX = {
    License.mit: "MIT",
    License.apache: "Apache-2.0",
    License.bsd: "BSD-3-Clause",
    License.none: "LicenseRef-All-Rights-Reserved",
}


def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the package and of its example, such as my-cam.")
    ],
    kind: Annotated[Kind, typer.Option(help="Kind of the plugin.")] = Kind.explainer,
    into: Annotated[Path, typer.Option(metavar="DIR", help="Parent folder of the package.")] = Path(),
    license: Annotated[License, typer.Option(help="License of the package.")] = License.mit,
    author: Annotated[str, typer.Option(metavar="AUTHOR", help="Copyright holder.  [default: The NAME authors]")] = "",
) -> None:
    """Create a plugin package with an example and tests.

    The example works without changes, and its tests pass. The command fails if the folder DIR/NAME exists and is not
    empty.
    """
    from xai_core import files
    from xai_core.cli.console import counted, print_line

    name = checked_name(name, kind)
    author = author or f"The {name} authors"
    if not author.isprintable() or set(author) & set('"\\'):
        raise OptionError(f"--author: expected a name without quotes, backslashes or line breaks, got {author!r}")
    if into.exists() and not into.is_dir():
        raise FileError(f"--into: expected a folder, got the file {into}")
    folder = into / name
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise FileError(f"{folder} already exists: choose another name, or another folder with --into")
    words = placeholders(name, kind, license, author)
    contents = {folder / replaced(path, words): replaced(text, words) for path, text in template(kind, license)}
    for path, text in contents.items():
        files.make_folder(path.parent)
        files.write_file(path, text.encode())
    quoted = shlex.quote(str(folder))
    installer = "python -m pip" if importlib.util.find_spec("pip") else "uv pip"
    print_line(f"Created {counted(len(contents), 'file')} in {folder}. Next steps:")
    print_line(
        f"  {installer} install --editable {quoted} pytest\n  python -m pytest {quoted}\n  xai plugin check {name}"
    )


def placeholders(name: str, kind: Kind, license: License, author: str) -> Mapping[str, str]:
    """Return the placeholders of the templates with their replacements."""
    from importlib.metadata import version

    return {
        "new-plugin": name,
        "new_plugin": name.replace("-", "_"),
        "NewPlugin": "".join(part.capitalize() for part in name.split("-")),
        "NEW_PURPOSE": PURPOSES[kind],
        "NEW_LICENSE": SPDX[license],
        "NEW_AUTHOR": author,
        "NEW_YEAR": f"{datetime.date.today().year}",
        "NEW_REQUIREMENT": requirement(version("xai-core")),
    }


def template(kind: Kind, license: License) -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each file of a package, with placeholders."""
    for folder in (TEMPLATES / "common", TEMPLATES / kind):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                parts = (re.sub("^dot_", ".", part) for part in path.relative_to(folder).parts)
                yield "/".join(parts), path.read_text(encoding="utf-8")
    if license is not License.none:
        yield "LICENSE", (TEMPLATES / "licenses" / f"{license}.txt").read_text(encoding="utf-8")


def replaced(text: str, words: Mapping[str, str]) -> str:
    """Return text with every placeholder replaced."""
    return re.sub("|".join(words), lambda match: words[match[0]], text)


def requirement(release: str) -> str:
    """Return the requirement of a new plugin: releases of xai-core until the next one that may be incompatible."""
    from packaging.version import Version

    running = Version(release)
    if running.major:
        return f"xai-core>={running.major}.{running.minor},<{running.major + 1}"
    return f"xai-core>=0.{running.minor},<0.{running.minor + 1}"


def checked_name(text: str, kind: Kind) -> str:
    """Return the name of a package as PyPI normalizes it.

    Raises
    ------
    OptionError
        If it is not a valid name of a package and of a module, or if an installed package, module or plugin has it.
    """
    from importlib.metadata import distributions, requires

    from packaging.requirements import Requirement
    from packaging.utils import InvalidName, canonicalize_name

    from xai_core.plugins.registry import registry

    try:
        name = str(canonicalize_name(text, validate=True))
    except InvalidName:
        raise OptionError(
            f"expected a package name of letters, digits and hyphens, such as my-cam, got {text!r}"
        ) from None
    module = name.replace("-", "_")
    if not module.isidentifier():
        raise OptionError(f"expected a package name that begins with a letter, got {text!r}")
    if module in sys.stdlib_module_names or iskeyword(module):
        raise OptionError(f"{module!r} is a keyword or a standard module of Python: choose another name")
    installed = {canonicalize_name(package.name) for package in distributions() if package.name}
    dependencies = {canonicalize_name(Requirement(line).name) for line in requires("xai-core") or ()}
    if name in installed | dependencies or module == "tests":
        raise OptionError(f"a package named {name!r} already exists: choose another name")
    if importlib.util.find_spec(module) is not None:
        raise OptionError(f"a module named {module!r} is already installed: choose another name")
    provided = "models" if kind is Kind.adapter else f"{kind}s"
    if name in registry().entries[provided]:
        release = registry().entries[provided][name].plugin.release
        raise OptionError(f"{release} already provides the {provided.removesuffix('s')} {name!r}: choose another name")
    return name
