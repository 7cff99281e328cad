"""Time, size and height of the page of `xai demo`: prints them, and exits with 1 above a limit.

Run with `PYTHONPATH=tests uv run python benchmarks/demo.py` on a machine without other load. The height needs Chromium.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from support.browser import CHROMIUM, page_height
from support.demo_limits import MOST_BYTES, MOST_PIXELS, MOST_SECONDS

XAI = str(Path(sys.executable).with_name("xai"))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        start = time.perf_counter()
        subprocess.run([XAI, "demo"], cwd=folder, check=True)
        seconds, page = time.perf_counter() - start, Path(folder, "xai-demo/index.html")
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        size, height = page.stat().st_size, page_height(browser, page)
    print(
        f"{seconds:.0f} s (limit {MOST_SECONDS}), {size} bytes (limit {MOST_BYTES}), {height} px (limit {MOST_PIXELS})"
    )
    sys.exit(seconds > MOST_SECONDS or size > MOST_BYTES or height > MOST_PIXELS)


if __name__ == "__main__":
    main()
