"""Makes the image of the page about volumes, by running the example of the page.

python docs/volume_pictures.py
"""

import contextlib
import io
import re
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

import xai_core as xai
from xai_core.visualization.encoding import encode, encode_figure

DOCS = Path(__file__).parent


def main() -> None:
    """Write the image."""
    [example] = re.findall(
        r"^```python\n(.*?)^```", (DOCS / "how-to" / "volumes.md").read_text(), re.DOTALL | re.MULTILINE
    )
    names: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        exec(compile(example, "volumes.md", "exec"), names)
    figure = xai.draw(names["volumes"], names["maps"], names["scores"])
    image = Image.open(io.BytesIO(encode_figure(figure, dpi=105))).convert("RGB")
    path = DOCS / "images" / "how-to" / "volumes.webp"
    path.write_bytes(encode(image, "WEBP"))
    print(f"{path.name}: {image.width}x{image.height}, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
