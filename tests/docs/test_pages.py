"""The documentation speaks of what is installed: pages, links, pictures, options and commands."""

import inspect
import itertools
import re
import shlex
from collections.abc import Iterator
from urllib.parse import unquote

import pytest
import typer
from PIL import Image

import xai_core as xai
from support.paths import ROOT
from xai_core import cli
from xai_core.plugins.own_models import with_source
from xai_core.plugins.registry import registry
from xai_core.spec import parse, split, write_value
from xai_zoo import cli as zoo_cli

DOCS = ROOT / "docs"
IMAGES = DOCS / "images"
METHODS = DOCS / "methods"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if "example-plugin" not in path.parts)
METRICS = DOCS / "metrics"
METRIC_PAGES = sorted(path.stem for path in METRICS.glob("*.md") if path.stem != "index")
METHOD_PAGES = sorted(path.stem for path in METHODS.glob("*.md") if path.stem != "index")
METRIC_HEADINGS = ["Definition", "Limitations", "Options", "Usage", "Source", "In other libraries"]
HEADINGS = ["Equation", "Limitations", "Options", "Usage", "Source", "In other libraries"]
# No trained model with class attention comes with the packages, nor one without residual connections.
UNSEEN = {"b-cos", "class-attention", "lrp"}
APPS = {"xai": cli.app, "xai-zoo": zoo_cli.app}


def text(page: str) -> str:
    return (DOCS / page).read_text()


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text(page), re.DOTALL | re.MULTILINE)


def prose(page: str) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", text(page), flags=re.DOTALL | re.MULTILINE)


def section(page: str, heading: str) -> str:
    return re.split(r"^## ", text(page).partition(f"\n## {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def nav() -> list[str]:
    return re.findall(r"[\w./+-]+\.md\b", (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2])


@pytest.mark.parametrize("name", xai.list_explainers())
def test_every_explainer_has_a_page_and_a_row(name: str) -> None:
    assert name in METHOD_PAGES, f"write docs/methods/{name}.md"
    assert f"| [`{name}`]({name}.md) |" in text("methods/index.md")


@pytest.mark.parametrize("name", METHOD_PAGES)
def test_a_method_page_has_its_sections_and_is_about_something_installed(name: str) -> None:
    page = f"methods/{name}.md"
    assert name in xai.list_explainers()
    assert re.findall(r"^## (.*)$", text(page), re.MULTILINE) == HEADINGS
    assert (f"](../images/methods/{name}.webp)" in text(page)) == (name not in UNSEEN)


@pytest.mark.parametrize("name", xai.list_metrics())
def test_every_metric_has_a_page_and_a_row(name: str) -> None:
    assert name in METRIC_PAGES, f"write docs/metrics/{name}.md"
    direction = "higher" if xai.create_metric(name).higher_is_better else "lower"
    assert re.search(
        rf"^\| \[`{name}`\]\({name}\.md\) \| [^|]* \| {direction} \|", text("metrics/index.md"), re.MULTILINE
    )


@pytest.mark.parametrize("name", METRIC_PAGES)
def test_a_metric_page_has_its_sections_and_is_about_something_installed(name: str) -> None:
    assert name in xai.list_metrics()
    assert re.findall(r"^## (.*)$", text(f"metrics/{name}.md"), re.MULTILINE) == METRIC_HEADINGS


def test_the_navigation_holds_every_page_and_notebook_once() -> None:
    notebooks = [path.relative_to(DOCS).with_suffix(".md").as_posix() for path in (DOCS / "notebooks").glob("*.ipynb")]
    assert sorted(nav()) == sorted([*PAGES, *notebooks])


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_exist(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in target or target.startswith("#"):
            continue
        assert ((DOCS / page).parent / unquote(target.partition("#")[0])).exists(), f"{page} links to {target}"


def test_pictures_are_there_and_small() -> None:
    sizes = {path.relative_to(IMAGES).as_posix(): path.stat().st_size for path in IMAGES.rglob("*.*")}
    assert {path.stem for path in (IMAGES / "methods").iterdir()} == {*METHOD_PAGES} - UNSEEN
    limits = {"methods": 60_000, "visualization": 150_000, "how-to": 150_000}
    limits |= {"gallery.webp": 600_000, "readme.webp": 600_000}
    assert {name.partition("/")[0] for name in sizes} == {*limits}
    assert all(size < limits[name.partition("/")[0]] for name, size in sizes.items())


def test_pictures_are_in_true_color() -> None:
    modes = {}
    for path in IMAGES.rglob("*.*"):
        with Image.open(path) as image:
            modes[path.name] = image.mode
    assert {*modes.values()} == {"RGB"}


@pytest.mark.parametrize("page", [*PAGES, "../README.md"])
def test_commands_name_what_is_installed(page: str) -> None:
    made_there = re.findall(r'^    name = "(.*)"$', text(page), re.MULTILINE)
    for words in commands(page):
        options = dict(itertools.pairwise(words))
        for spec in split(options.get("--method", "")):
            if parse(spec).head not in [*made_there, "all"]:
                xai.create_explainer(spec)
        if "--model" in options:
            assert with_source(parse(options["--model"])).head in registry().entries["models"]


@pytest.mark.parametrize("page", [*PAGES, "../README.md"])
def test_commands_and_their_options_exist(page: str) -> None:
    for words in commands(page):
        words = words[2:] if words[:2] == ["uv", "run"] else words
        if not words or words[0] not in APPS:
            continue
        command = typer.main.get_command(APPS[words[0]])
        for word in words[1:]:
            if word in getattr(command, "commands", {}):
                command = command.commands[word]
        assert not hasattr(command, "commands"), f"{page}: {shlex.join(words)} names no command"
        known = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
        assert {word for word in words if word.startswith("-")} <= known, f"{page}: {shlex.join(words)}"


def commands(page: str) -> Iterator[list[str]]:
    for block in blocks(page, "console"):
        for line in block.replace("\\\n", " ").splitlines():
            yield shlex.split(line)


@pytest.mark.parametrize("name", METHOD_PAGES)
def test_the_options_are_those_of_the_explainer(name: str) -> None:
    check_options(section(f"methods/{name}.md", "Options"), registry().entries["explainers"][name].made_by)


@pytest.mark.parametrize("name", METRIC_PAGES)
def test_the_options_are_those_of_the_metric(name: str) -> None:
    check_options(section(f"metrics/{name}.md", "Options"), registry().entries["metrics"][name].made_by)


def check_options(documented: str, made_by: type) -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", documented, re.MULTILINE))
    parameters = inspect.signature(made_by).parameters
    assert list(rows) == list(parameters)
    for option, default in rows.items():
        if literal := re.fullmatch(r"`([^`]*)`", default):
            assert literal[1] == write_value(parameters[option].default), option
