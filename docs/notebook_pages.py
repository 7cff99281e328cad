"""Adds a page for each notebook to the site: its code and its saved outputs as Markdown. Nothing is executed."""

import json
import posixpath
import re
from html import escape
from pathlib import Path
from typing import Any

LINK = re.compile(r"(\]\([^)\s]*)\.ipynb(?=[)#])")
IMAGES = ("image/jpeg", "image/png")


def on_files(files: Any, config: Any, **_: Any) -> Any:
    """Add a page for each notebook. The notebook itself stays a file that the page links to."""
    from mkdocs.structure.files import File

    for file in [*files]:
        if file.src_uri.endswith(".ipynb"):
            notebook = json.loads(Path(file.abs_src_path).read_text("utf-8"))
            name = posixpath.basename(file.src_uri)
            page = file.src_uri.removesuffix(".ipynb") + ".md"
            files.append(File.generated(config, page, content=markdown(notebook, name)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links to notebooks lead to their pages."""
    return LINK.sub(r"\1.md", markdown)


def markdown(notebook: dict[str, Any], name: str) -> str:
    """Return the cells of a notebook, and a link to the file after the first cell."""
    first, *others = (part for cell in notebook["cells"] for part in parts(cell))
    download = f'<a href="{escape(name)}" download>Download this notebook</a>'
    return "\n\n".join([first, download, *others])


def parts(cell: dict[str, Any]) -> list[str]:
    """Return the source of a cell and its outputs."""
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return [source]
    return [f"```python\n{source}\n```", *map(output_of, cell["outputs"])]


def output_of(output: dict[str, Any]) -> str:
    """Return an output: HTML, an image or text."""
    if output["output_type"] == "stream":
        return block("".join(output["text"]))
    data = {kind: "".join(content) for kind, content in output["data"].items()}
    if "text/html" in data:
        return f'<div class="output">{data["text/html"]}</div>'
    for kind in IMAGES:
        if kind in data:
            return f'<img class="output" alt="" src="data:{kind};base64,{data[kind].strip()}">'
    return block(data["text/plain"])


def block(text: str) -> str:
    """Return text in a block of its own."""
    return f'<pre class="output">{escape(text.rstrip())}</pre>'
