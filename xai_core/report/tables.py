"""Tables of text, and their formats: Markdown, LaTeX and comma-separated values."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from xai_core.files import distinct
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
    bold
        Row and column of each bold cell, in formats with bold text.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[str] = frozenset()
    below: Sequence[str] = ()
    bold: frozenset[tuple[int, int]] = frozenset()


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
    """Format tables as LaTeX for the package booktabs, with titles as captions and sentences as comments.

    Each table has a label, such as `tab:resnet50-deletion`. Numbers have minus signs instead of hyphens.
    """
    labels = distinct(table.title.partition(" (")[0] for table in tables)
    return "\n\n".join(map(_latex, tables, labels)) + "\n"


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


def _latex(table: TextTable, label: str) -> str:
    comments = [f"% {_one_line(text)}" for text in (table.title, *table.below)]
    if not table.rows:
        return "\n".join(comments)
    is_number = [column in table.numbers for column in table.columns]
    rows = [
        [_latex_cell(*cell, (i, j) in table.bold) for j, cell in enumerate(zip(row, is_number, strict=True))]
        for i, row in enumerate(table.rows)
    ]
    body = [" & ".join(row) + r" \\" for row in ([*map(_escape_latex, table.columns)], *rows)]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escape_latex(table.title)}}}",
        rf"\label{{tab:{_ascii(label)}}}",
        rf"\begin{{tabular}}{{{''.join('r' if number else 'l' for number in is_number)}}}",
        r"\toprule",
        body[0],
        r"\midrule",
        *body[1:],
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join([*comments, *lines])


def _latex_cell(text: str, is_number: bool, is_bold: bool) -> str:
    """Escape a cell. Hyphens before digits are minus signs if the cell contains numbers."""
    escaped = _escape_latex(text)
    escaped = re.sub(r"-(?=\d)", "$-$", escaped) if is_number else escaped
    return rf"\textbf{{{escaped}}}" if is_bold else escaped


def _escape_latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in _one_line(text))


def _ascii(label: str) -> str:
    """Return a label without characters that have a meaning in LaTeX."""
    return re.sub(r"[^A-Za-z0-9.:+=-]+", "-", label)


def _one_line(text: str) -> str:
    return printable(" ".join(text.splitlines()))
