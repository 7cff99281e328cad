"""Plugins as wheels in a temporary environment, and plugins that are objects."""

import base64
import csv
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

import xai_core as xai
from support import subprocesses as fresh


def wheel(folder: Path, name: str, code: str, version: str = "1.0", requires: Sequence[str] = ()) -> Path:
    """Build a wheel of one module with an entry point in the group `xai_core`."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
    files = {
        f"{module}.py": textwrap.dedent(code),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[xai_core]\nmine = {module}\n",
    }
    record = io.StringIO()
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        csv.writer(record).writerow([path, f"sha256={digest}", len(text)])
    path = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name_, text in {**files, f"{info}/RECORD": record.getvalue()}.items():
            archive.writestr(name_, text)
    return path


class Environment:
    """Distributions beside those of this environment, and a Python that sees both."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.site = folder, folder / "site"

    def install(self, name: str, code: str, version: str = "1.0", requires: Sequence[str] = ()) -> None:
        uv = os.environ.get("UV") or shutil.which("uv")
        assert uv, "these tests install wheels with uv"
        built = wheel(self.folder, name, code, version, requires)
        command = [uv, "pip", "install", "--quiet", "--no-deps", "--offline", "--python", sys.executable]
        subprocess.run([*command, "--target", str(self.site), str(built)], check=True)

    def run(self, code: str, chosen: str = "") -> Any:
        """Run code that leaves JSON on its last line, with these plugins chosen by `XAI_PLUGINS`."""
        given = f"import json, os, sys\nos.environ['XAI_PLUGINS'] = {chosen!r}\nimport xai_core as xai\n"
        out = fresh.printed(given + textwrap.dedent(code), str(self.site))
        return json.loads(out.splitlines()[-1])

    def error(self, code: str = "xai.list_explainers()", chosen: str = "") -> str:
        """The error that some code gives, by default looking a name up."""
        return self.run(
            f"""
            try:
                {code}
            except xai.XAIError as error:
                print(json.dumps(f"{{type(error).__name__}}: {{error}}"))
            """,
            chosen,
        )


def own(name: str) -> type[xai.Explainer]:
    """An explainer of that name, as a notebook would define it."""

    class Own(xai.Explainer):
        def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
            return xai.Needs(activations=(adapter.default_layer,))

        def explain(self, captured: xai.Captured) -> Tensor:
            return captured.activation().mean(1)

    Own.name = name
    return Own


class Plug:
    """A plugin that is an object."""

    def __init__(self, *names: str) -> None:
        self.given = [own(name) for name in names]

    @xai.hookimpl
    def xai_explainers(self) -> list[type[xai.Explainer]]:
        return self.given
