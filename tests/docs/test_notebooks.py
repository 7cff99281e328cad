"""The notebooks of the documentation run, and their outputs are saved with them."""

import itertools
import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from support.paths import ROOT

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def kinds(cell: Any) -> list[str]:
    """The kinds of a cell's outputs in order. Warnings are not saved, and images are saved as JPEG."""
    outputs = (output for output in cell["outputs"] if output.get("name") != "stderr")
    data = [output.get("data", {"stream": ""}) for output in outputs]
    order = ("text/html", "image/jpeg", "image/png", "text/plain", "stream")
    found = (next(kind for kind in order if kind in each).replace("png", "jpeg") for each in data)
    return [kind for kind, _ in itertools.groupby(found)]


def test_there_are_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["comparing-methods", "first-map", "own-model"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_saved_and_small(path: Path) -> None:
    text = path.read_text()
    assert len(text) < 400_000
    assert "/tmp/" not in text
    assert "site-packages" not in text
    cells = code_cells(json.loads(text))
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)], "run docs/run_notebooks.py"
    assert not [output for cell in cells for output in cell["outputs"] if output["output_type"] == "error"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_page_of_a_notebook_has_all_cells_and_outputs(path: Path) -> None:
    notebook = json.loads(path.read_text())
    page = runpy.run_path(str(ROOT / "docs" / "notebook_pages.py"))["markdown"](notebook, path.name)
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        assert (source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```") in page
    outputs = [output for cell in code_cells(notebook) for output in cell["outputs"]]
    assert page.count('class="output"') == len(outputs)
    images = ("".join(output.get("data", {}).get("image/jpeg", "")).strip() for output in outputs)
    assert all(image in page for image in images)
    assert f'<a href="{path.name}" download>' in page


def sockets(folder: Path) -> Any:
    """Settings of kernels without ports: kernels that start at the same time can pick the same port."""
    traitlets = pytest.importorskip("traitlets.config")
    return traitlets.Config({"KernelManager": {"transport": "ipc", "ip": str(folder / "socket")}})


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("default")  # those of Jupyter's libraries
def test_a_notebook_runs_and_has_the_outputs_that_are_saved(path: Path, tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    saved, notebook = json.loads(path.read_text()), nbformat.read(path, 4)
    options = {"timeout": 600, "resources": {"metadata": {"path": str(tmp_path)}}, "config": sockets(tmp_path)}
    nbclient.NotebookClient(notebook, **options).execute()
    assert [kinds(cell) for cell in code_cells(notebook)] == [kinds(cell) for cell in code_cells(saved)]
