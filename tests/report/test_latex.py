"""LaTeX tables: their structure, and a document that contains them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from xai_core.report.tables import TextTable, latex

NAMES = ["grad-cam:layer=blocks.4|x", "__init__<b>*a*[b](c)~d~$e$\\f&lt;", "100 % #1 {x}^2", "`tick`"]
TABLES = [
    TextTable(
        f"model_{i}: *metric* & 5 % (lower is better)",
        ("method", "mean", "95 % interval"),
        [(name, "-0.1234", "-0.2 to 0.1") for name in NAMES],
        frozenset({"mean", "95 % interval"}),
        ["`a` is better than `b_c`."],
        frozenset({(0, 0), (0, 1)}),
    )
    for i in range(2)
]


def test_the_best_is_bold_and_numbers_have_minus_signs() -> None:
    text = latex(TABLES)
    assert r"\textbf{grad-cam:layer=blocks.4\textbar{}x} & \textbf{$-$0.1234} & $-$0.2 to 0.1 \\" in text
    assert text.count(r"\textbf") == 4
    rows = [line for line in text.splitlines() if line.endswith(r" \\")]
    assert not [row for row in rows if re.search(r"-\d", row)]


def test_tables_have_captions_and_different_labels() -> None:
    text = latex(TABLES)
    assert r"\caption{model\_0: {*}metric{*} \& 5 \% (lower is better)}" in text
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert labels == ["tab:model-0-metric-5", "tab:model-1-metric-5"]


def test_environments_are_closed_and_rows_have_equal_cells() -> None:
    text = latex(TABLES)
    stack = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert not stack
    rows = [line for line in text.splitlines() if line.endswith(r" \\")]
    assert len(rows) == 2 * (1 + len(NAMES))
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {2}


@pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="needs pdflatex: run `apt-get install texlive-latex-recommended`"
)
def test_latex_compiles_the_tables(tmp_path: Path) -> None:
    document = rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{latex(TABLES)}\end{{document}}"
    (tmp_path / "tables.tex").write_text(document)
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "-no-shell-escape", "tables.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "tables.pdf").read_bytes().startswith(b"%PDF-")
