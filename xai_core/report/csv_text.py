"""Comma-separated values that spreadsheets open without running formulas."""

import csv
import io
from collections.abc import Iterable, Sequence

from xai_core.printable import printable
from xai_core.spec import read_value

_FORMULA = ("=", "+", "-", "@", "\n")


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Format rows as comma-separated values with a header. Text that looks like a formula is preceded by `'`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows(map(_escaped, row) for row in [columns, *rows])
    return text.getvalue()


def _escaped(cell: object) -> object:
    """Return a cell, or text that a spreadsheet does not read as a formula. Numbers, such as `-0.5`, are unchanged."""
    if not isinstance(cell, str) or not isinstance(read_value(cell), str):
        return cell
    text = printable(cell)
    return f"'{text}" if text.startswith(_FORMULA) else text
