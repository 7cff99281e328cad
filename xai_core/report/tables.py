"""Tables that can be written in several formats."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sheet:
    """A table of text: its title, columns, rows, which columns are numbers, and what is to be said below it."""

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
    **{character: f"{{{character}}}" for character in "[]*"},  # which mean something after a row's end
}


def markdown(sheets: Sequence[Sheet]) -> str:
    """Tables of Markdown, with titles as headings."""
    return "\n\n".join(map(_markdown, sheets)) + "\n"


def latex(sheets: Sequence[Sheet]) -> str:
    """Tables for LaTeX's booktabs."""
    return "\n\n".join(map(_latex, sheets)) + "\n"


def comma_separated(sheet: Sheet) -> str:
    """A table as comma-separated values with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(sheet.columns)
    writer.writerows(sheet.rows)
    return text.getvalue()


def _markdown(sheet: Sheet) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(map(_literal, cells)) + " |"

    rule = ["---:" if column in sheet.numbers else "---" for column in sheet.columns]
    table = [line(sheet.columns), line(rule), *map(line, sheet.rows)] if sheet.rows else []
    below = [f"\n{_said(said)}" for said in sheet.below]
    return "\n".join([f"## {_literal(sheet.title)}", *([""] * bool(table)), *table, *below])


def _literal(text: str) -> str:
    """Text of which Markdown makes nothing else."""
    return re.sub(r"[\\`*_\[\]<>|~$&]", r"\\\g<0>", _line(text))


def _said(text: str) -> str:
    """A sentence; what it has between backticks is code."""
    parts = re.split(r"(`[^`]+`)", _line(text))
    return "".join(part if place % 2 else _literal(part) for place, part in enumerate(parts))


def _latex(sheet: Sheet) -> str:
    def line(cells: Sequence[str]) -> str:
        return " & ".join(map(_escaped, cells)) + r" \\"

    kinds = "".join("r" if column in sheet.numbers else "l" for column in sheet.columns)
    table = [
        rf"\begin{{tabular}}{{{kinds}}}",
        r"\toprule",
        line(sheet.columns),
        r"\midrule",
        *map(line, sheet.rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    said = [f"% {_line(one)}" for one in (sheet.title, *sheet.below)]
    return "\n".join([*said, *(table if sheet.rows else [])])


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in _line(text))


def _line(text: str) -> str:
    """Text in one line, which tables need."""
    return " ".join(text.splitlines())
