"""Vector files of figures."""

import io
from collections.abc import Iterator

import matplotlib
from matplotlib.figure import Figure

_FORMATS = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
"""The formats, with the metadata that would make two files of the same figure differ."""


def vector_files(figure: Figure) -> Iterator[tuple[str, bytes]]:
    """Yield the format and the content of a figure's files: svg and pdf. Equal figures have equal files."""
    for kind, metadata in _FORMATS.items():
        buffer = io.BytesIO()
        with matplotlib.rc_context({"svg.hashsalt": "xai-core", "pdf.fonttype": 42}):
            figure.savefig(buffer, format=kind, bbox_inches="tight", pad_inches=0.05, metadata=metadata)
        yield kind, buffer.getvalue()
