"""The isolation page lists every plugin of the catalogue of misbehavior, with its cost and its test.

Run this file as a script, with `tests` on the path, to rewrite the tables of the page after an intended change.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.misbehavior import KINDS, OTHERS, Kind, Misbehavior
from support.paths import ROOT

PATH = ROOT / "docs" / "plugins" / "isolation.md"
COMMAND = f"PYTHONPATH=tests uv run python {Path(__file__).relative_to(ROOT)}"
BEGIN, END = "<!-- Begin of the generated tables -->\n", "<!-- End of the generated tables -->\n"


def row(kind: Kind, case: Misbehavior) -> str:
    error = f"`{case.error.__name__}`" if case.error else "none"
    return f"| {case.description} | {error} | {case.cost or kind.cost} | `{case.name}` |\n"


def section(kind: Kind) -> Iterator[str]:
    yield f"\n### {kind.heading}\n\n"
    yield f"Tests: {', '.join(f'`{test}`' for test in kind.tests)}.\n\n"
    yield "| misbehavior | error | cost | test |\n| --- | --- | --- | --- |\n"
    yield from (row(kind, case) for case in kind.cases)


def tables() -> str:
    """Return the tables of all kinds."""
    return "".join(line for kind in KINDS for line in section(kind)) + "\n"


def documented() -> str:
    """Return the tables of the page."""
    return PATH.read_text().partition(BEGIN)[2].partition(END)[0]


def test_the_page_lists_every_misbehavior() -> None:
    assert documented() == tables(), f"the catalogue has changed; update the page: `{COMMAND}`"


def test_names_and_descriptions_are_distinct() -> None:
    cases = [case for kind in KINDS for case in kind.cases]
    for values in ([case.name for case in cases], [case.description for case in cases]):
        assert [value for value, count in Counter(values).items() if count > 1] == []


def functions(test: str) -> list[str]:
    """Return the function of a test, or all functions of a file."""
    path, _, function = test.partition("::")
    return re.findall(rf"^def ({function or 'test_[a-z_]*'})\(", (ROOT / path).read_text(), re.MULTILINE)


@pytest.mark.parametrize("test", sorted({test for kind in KINDS for test in kind.tests}))
def test_the_page_names_tests_that_exist(test: str) -> None:
    assert functions(test)


def test_failures_with_tests_of_their_own_name_tests_that_exist() -> None:
    known = {function for file in OTHERS.tests for function in functions(file)}
    assert [case.name for case in OTHERS.cases if case.name.partition("[")[0] not in known] == []


if __name__ == "__main__":
    page = PATH.read_text()
    PATH.write_text(page.partition(BEGIN)[0] + BEGIN + tables() + END + page.partition(END)[2])
