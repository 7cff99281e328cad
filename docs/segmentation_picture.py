"""Makes the image of the page about segmentation, by running the example of the page.

python docs/segmentation_picture.py
"""

import contextlib
import io
import re
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from xai_core.visualization.encoding import encode, encode_figure

DOCS = Path(__file__).parent


def main() -> None:
    """Write the image."""
    page = (DOCS / "how-to" / "segmentation.md").read_text()
    [example] = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        exec(compile(example, "segmentation.md", "exec"), names)
    image = Image.open(io.BytesIO(encode_figure(names["figure"], dpi=105))).convert("RGB")
    path = DOCS / "images" / "how-to" / "segmentation.webp"
    path.write_bytes(encode(image, "WEBP"))
    print(f"{path.name}: {image.width}x{image.height}, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
