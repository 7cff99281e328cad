"""The source text of functions, and when two texts are equal."""

import importlib.util
import itertools
import linecache
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.benchmark_runs import Breaking
from xai_core.benchmarking.fingerprint import code_hash
from xai_core.benchmarking.source_text import source_text

PLAIN = """
def scaled(maps, by=2):
    text = f"{by} # no comment"
    shown = '''a

    "b"'''
    return [
        "c",
        maps * by
    ]
"""
SAME = {
    "comments": PLAIN.replace("[", "[  # first").replace('"c",', '"c",  # second'),
    "docstring": PLAIN.replace(":\n    text", ':\n    """Scale.\n\n    More.\n    """  # why\n    text', 1),
    "blank lines": PLAIN.replace("\n    return", "\n\n \n    return").replace("by\n", "by  \n"),
    "position": "\n\nOTHER = 3\n" + PLAIN,
}
OTHER = {
    "number": PLAIN.replace("by=2", "by=3"),
    "operator": PLAIN.replace("maps * by", "maps + by"),
    "string": PLAIN.replace("# no comment", "# comment"),
    "blank line in a string": PLAIN.replace("a\n\n", "a\n\n\n"),
    "string that looks like a docstring": PLAIN.replace('"c"', '"d"'),
    "format": PLAIN.replace("maps * by", "maps*by"),
    "nested function": PLAIN.replace("    return", "    def inner(): return 1\n    return"),
}
COUNTER = itertools.count()


def defined(text: str, folder: Path) -> Callable[..., Any]:
    """The function of a module with this text."""
    path = folder / f"module_{next(COUNTER)}.py"
    path.write_text(text)
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    function: Callable[..., Any] = module.scaled
    return function


def text_of(text: str, folder: Path) -> str | None:
    return source_text(defined(text, folder).__code__)


@pytest.mark.parametrize("change", SAME)
def test_what_does_not_change_the_meaning_is_removed(tmp_path: Path, change: str) -> None:
    assert SAME[change] != PLAIN
    assert text_of(SAME[change], tmp_path) == text_of(PLAIN, tmp_path) is not None


def test_indentation_of_the_whole_function_is_removed(tmp_path: Path) -> None:
    short = "def scaled(maps):\n    return maps"
    assert text_of(f"if True:\n{textwrap.indent(short, '        ')}", tmp_path) == text_of(short, tmp_path) == short


@pytest.mark.parametrize("change", OTHER)
def test_every_other_change_is_a_difference(tmp_path: Path, change: str) -> None:
    assert text_of(OTHER[change], tmp_path) != text_of(PLAIN, tmp_path)


def test_lambdas_of_a_line_are_distinguished(tmp_path: Path) -> None:
    text = """
scaled = [lambda x: x + 1, lambda x: x + 2, lambda x: (lambda y: x + y), lambda x: (
    x  # the argument
    + 4
)]
"""
    functions: Any = defined(text, tmp_path)
    texts = [source_text(function.__code__) for function in (*functions, functions[2](1))]
    assert texts == [
        "(lambda x: x + 1)",
        "(lambda x: x + 2)",
        "(lambda x: (lambda y: x + y))",
        "(lambda x: (\n    x\n    + 4\n))",
        "(lambda y: x + y)",
    ]


def executed(number: int) -> type[Breaking]:
    """A class whose source text is not available."""
    names: dict[str, Any] = {"Breaking": Breaking, "__name__": "notebook"}
    exec(f"class Mine(Breaking):\n    def scaled(self, maps):\n        return maps * {number}", names)
    kind: type[Breaking] = names["Mine"]
    return kind


def test_without_source_text_the_bytecode_counts() -> None:
    assert source_text(executed(1).scaled.__code__) is None  # type: ignore[attr-defined] # of the executed class
    assert code_hash(executed(1)()) == code_hash(executed(1)())
    assert code_hash(executed(1)()) != code_hash(executed(2)())


def test_source_text_that_only_the_memory_contains_counts() -> None:
    """As in a notebook, whose cells are registered in `linecache`."""
    text = "def scaled(maps):\n    return maps * 2  # twice\n"
    linecache.cache["<cell>"] = (len(text), None, text.splitlines(keepends=True), "<cell>")
    names: dict[str, Any] = {}
    exec(compile(text, "<cell>", "exec"), names)
    assert source_text(names["scaled"].__code__) == "def scaled(maps):\n    return maps * 2"
