"""Tables of text, and their formats: Markdown, LaTeX and comma-separated values."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from xai_core.printable import printable
from xai_core.report.csv_text import csv_text


@dataclass(frozen=True)
class TextTable:
    """A table of text.

    Attributes
    ----------
    title
        Heading.
    columns
        Names of the columns.
    rows
        Cells of each row. Without rows, only the title and the text below are shown.
    numbers
        Names of the columns with numbers, which are right-aligned.
    below
        Sentences below the table. Text between backticks is code.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[str] = frozenset()
    below: Sequence[str] = ()


_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{character: f"{{{character}}}" for character in "[]*"},  # LaTeX would read these as arguments of `\\`
}


def markdown(tables: Sequence[TextTable]) -> str:
    """Format tables as Markdown, with the titles as headings."""
    return "\n\n".join(map(_markdown, tables)) + "\n"


def latex(tables: Sequence[TextTable]) -> str:
    """Format tables as LaTeX for the package booktabs, with titles and sentences as comments."""
    return "\n\n".join(map(_latex, tables)) + "\n"


def comma_separated(table: TextTable) -> str:
    """Format a table as comma-separated values with a header."""
    return csv_text(table.columns, table.rows)


def _markdown(table: TextTable) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(map(_escape_markdown, cells)) + " |"

    rule = ["---:" if column in table.numbers else "---" for column in table.columns]
    lines = [line(table.columns), line(rule), *map(line, table.rows)] if table.rows else []
    below = [f"\n{_sentence(sentence)}" for sentence in table.below]
    return "\n".join([f"## {_escape_markdown(table.title)}", *([""] * bool(lines)), *lines, *below])


def _escape_markdown(text: str) -> str:
    """Escape the characters that have a meaning in Markdown."""
    return re.sub(r"[\\`*_\[\]<>|~$&]", r"\\\g<0>", _one_line(text))


def _sentence(text: str) -> str:
    """Escape a sentence, except for the code between backticks."""
    parts = re.split(r"(`[^`]+`)", _one_line(text))
    return "".join(part if i % 2 else _escape_markdown(part) for i, part in enumerate(parts))


def _latex(table: TextTable) -> str:
    def line(cells: Sequence[str]) -> str:
        return " & ".join(map(_escape_latex, cells)) + r" \\"

    alignment = "".join("r" if column in table.numbers else "l" for column in table.columns)
    lines = [
        rf"\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
        line(table.columns),
        r"\midrule",
        *map(line, table.rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    comments = [f"% {_one_line(text)}" for text in (table.title, *table.below)]
    return "\n".join([*comments, *(lines if table.rows else [])])


def _escape_latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in _one_line(text))


def _one_line(text: str) -> str:
    return printable(" ".join(text.splitlines()))
