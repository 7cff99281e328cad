"""In a notebook, the app of an engine is shown below the cell that starts it."""

import re

import pytest

CELLS = (
    "import xai_core as xai\napp = xai.Engine(xai.load_model('shapes-vit')).app()",
    "address = app.launch()",
    "import urllib.request\nprint(urllib.request.urlopen(address).status)",
    "app.close()",
)


@pytest.mark.filterwarnings("default")  # those of Jupyter's libraries
def test_the_app_is_shown_below_the_cell() -> None:
    pytest.importorskip("gradio", reason="the app requires Gradio")
    nbclient = pytest.importorskip("nbclient", reason="runs a notebook")
    nbformat = pytest.importorskip("nbformat", reason="runs a notebook")
    cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    [shown] = [output["data"] for output in cells[1].outputs if "data" in output]
    assert re.search(r'<iframe src="http://127\.0\.0\.1:\d+/"', shown["text/html"])
    assert [output["text"] for output in cells[2].outputs if output["output_type"] == "stream"] == ["200\n"]
