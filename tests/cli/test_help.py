"""Help and version: light to import, readable at 80 columns, and written as phrases that stand alone."""

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
import typer
from typer.testing import CliRunner

from xai_core.cli import app

HEAVY = (
    *("torch", "torchvision", "timm", "captum", "numpy", "scipy", "pyarrow", "matplotlib", "PIL", "jinja2"),
    *("rich", "jaxtyping", "pluggy", "packaging"),
)


Words = tuple[str, ...]
Command = typer.core.TyperCommand | typer.core.TyperGroup


def commands(command: Command, words: Words = ()) -> Iterator[tuple[Words, Command]]:
    """Yield every command and group with the words that name it."""
    yield words, command
    for name, subcommand in getattr(command, "commands", {}).items():
        yield from commands(subcommand, (*words, name))


COMMANDS = dict(commands(typer.main.get_command(app)))


def output(*args: str) -> str:
    result = CliRunner(env={"COLUMNS": "80"}).invoke(app, args)
    assert result.exit_code == 0, result.output
    return result.stdout


def modules_after(code: str) -> list[str]:
    """The heavy modules that a new process has imported after it ran the code."""
    report = f"\nimport sys\nprint('imported:', *(name for name in {HEAVY} if name in sys.modules))"
    process = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return process.stdout.rpartition("imported:")[2].split()


def test_help_and_version_import_nothing_heavy() -> None:
    calls = [["--version"], *([*words, "--help"] for words in COMMANDS)]
    code = f"""
from typer.testing import CliRunner
from xai_core.cli import app
for call in {calls}:
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 0, result.output
"""
    assert modules_after(code) == []


@pytest.mark.slow
def test_list_imports_no_library_of_models_or_methods() -> None:
    code = """
from typer.testing import CliRunner
from xai_core.cli import app
assert CliRunner().invoke(app, ["list"]).exit_code == 0
"""
    unneeded = {"torchvision", "timm", "captum", "scipy", "pyarrow", "matplotlib", "jinja2"}
    assert unneeded.isdisjoint(modules_after(code))


def test_version_is_shown() -> None:
    assert output("--version").split() == ["xai-core", "0.1.0"]


@pytest.mark.parametrize("words", [words for words in COMMANDS if words], ids=" ".join)
def test_a_summary_is_short_enough_for_the_list_of_commands(words: Words) -> None:
    summary = output(*words, "--help").split("\n\n")[1].strip()
    assert len(summary) <= 60
    assert summary.endswith(".")
    assert f" {summary}\n" in output(*words[:-1], "--help")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_page_fits_into_80_columns_and_truncates_no_summary(words: Words) -> None:
    page = output(*words, "--help")
    assert max(map(len, page.splitlines())) <= 80
    assert not re.search(r"\w\.\.\.$", page.partition("Commands:")[2], re.MULTILINE)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_option_has_a_help_text_that_stands_alone(words: Words) -> None:
    for parameter in COMMANDS[words].params:
        text = re.sub(r"\s*\[[^\]]*\]$", "", getattr(parameter, "help", None) or "")
        assert re.fullmatch(r"[A-Z].{8,}[.)]", text), f"{parameter.name}: {text!r}"
        assert not text.startswith(("Of ", "What ", "Where ", "How ")), parameter.name


@pytest.mark.parametrize(
    ("command", "options", "mark"),
    [
        ("explain", ["IMAGE <list[Path]>"], "[required]"),
        ("benchmark", ["--model SPEC", "--data SPEC", "--out RUN"], "[required here or in FILE]"),
        ("report", ["RUN <path>"], "[required]"),
    ],
)
def test_required_options_are_marked(command: str, options: list[str], mark: str) -> None:
    page = " ".join(output(command, "--help").partition("\nArguments:")[2].split())
    for option in options:
        text = re.split(r" --(?=[a-z])|Options:", page.partition(f"{option} ")[2])[0]
        assert text.strip().endswith(mark), f"{option}: {text}"


def test_help_explains_specs() -> None:
    page = " ".join(output("--help").split())
    assert "SPEC (specification string)" in page
    assert "NAME:OPTION=VALUE,..." in page
