"""Tables that can be written in several formats."""

import csv
import io
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


_SPECIAL = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
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
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = ["---:" if column in sheet.numbers else "---" for column in sheet.columns]
    table = [line(sheet.columns), line(rule), *map(line, sheet.rows)] if sheet.rows else []
    return "\n".join([f"## {sheet.title}", *([""] * bool(table)), *table, *(f"\n{said}" for said in sheet.below)])


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
    said = [f"% {one}" for one in (sheet.title, *sheet.below)]
    return "\n".join([*said, *(table if sheet.rows else [])])


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(character, character) for character in text)
