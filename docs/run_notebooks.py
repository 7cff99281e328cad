"""Executes the notebooks of the documentation, and saves them with compact outputs.

python docs/run_notebooks.py                 every notebook
python docs/run_notebooks.py first-map       this notebook only
"""

import base64
import io
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

NOTEBOOKS = Path(__file__).parent / "notebooks"
COLORS = re.compile(r"\x1b\[[0-9;]*m")
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def main(names: list[str]) -> None:
    """Execute the named notebooks, or all."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        if not names or path.stem in names:
            notebook = executed(path)
            for cell in notebook.cells:
                compact(cell)
            nbformat.write(notebook, path)
            print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def executed(path: Path) -> NotebookNode:
    """Return a notebook with the outputs of its execution in an empty folder.

    Raises
    ------
    CellExecutionError
        If a cell raises an error.
    """
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(notebook, timeout=600, record_timing=False, resources={"metadata": {"path": folder}})
        client.execute()
    notebook.metadata = nbformat.from_dict(METADATA)
    return notebook


def compact(cell: NotebookNode) -> None:
    """Remove warnings, terminal colors, and text beside HTML from the outputs of a cell. Store images as JPEG."""
    if cell.cell_type != "code":
        return
    cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    for output in cell.outputs:
        if output.output_type == "stream":
            output.text = COLORS.sub("", output.text).replace("\r\n", "\n")
        data = output.get("data", {})
        if "text/html" in data:
            data.pop("text/plain", None)
        if "image/png" in data:
            image = Image.open(io.BytesIO(base64.b64decode(data.pop("image/png")))).convert("RGB")
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=88)
            data["image/jpeg"] = base64.b64encode(buffer.getvalue()).decode()


if __name__ == "__main__":
    main(sys.argv[1:])
