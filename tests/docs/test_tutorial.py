"""The files in the tutorial for plugin authors are a working plugin, and the printed messages are real."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from support import subprocesses as fresh
from support.paths import ROOT
from xai_core.cli import app

PAGE = (ROOT / "docs" / "plugins" / "tutorial.md").read_text()
FILES = dict(re.findall(r'^```python title="my-cam/(.*?)"\n(.*?)^```', PAGE, re.DOTALL | re.MULTILINE))
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
[TOML] = re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
ENTRY_POINTS = tomllib.loads(TOML)["project"]["entry-points"]["xai_core"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder `my-cam` at the end of the tutorial, importable as if installed with `--editable`."""
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["plugin", "new", "my-cam"])
    assert result.output.splitlines()[0] in PAGE
    package = tmp_path / "my-cam"
    assert (package / "my_cam" / "__init__.py").read_text() == FILES["my_cam/__init__.py"]
    assert TOML in (package / "pyproject.toml").read_text()
    for name, text in FILES.items():
        assert (package / name).exists()
        (package / name).write_text(text)
    info = package / "my_cam-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-cam\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[xai_core]\n" + "\n".join(f"{k} = {v}" for k, v in ENTRY_POINTS.items()))
    return package


def last_json(folder: Path, code: str) -> Any:
    """Run code with the plugin on the path, and return the JSON on the last line of its output."""
    return json.loads(fresh.printed(code, str(folder)).splitlines()[-1])


def test_its_tests_pass(folder: Path) -> None:
    run = ["-q", "-p", "no:cacheprovider", "-W", "error", str(folder / "tests")]
    assert (
        last_json(folder, f"import json, pytest\ncode = pytest.main({run})\nprint()\nprint(json.dumps(int(code)))") == 0
    )


def test_its_examples_run(folder: Path) -> None:
    code = "\n".join(
        [*EXAMPLES, "import json\nprint(json.dumps([list(saliency.values.shape) for saliency in maps.values()]))"]
    )
    assert last_json(folder, code) == [[1, 64, 64]] * 3


def test_documented_mistake_fails_the_documented_check(folder: Path) -> None:
    module = folder / "my_cam" / "explainer.py"
    module.write_text(module.read_text().replace("softmax(1)", "softmax(0)"))
    check, description, message, count = last_json(
        folder,
        """
import json
from xai_core.testing import check_explainer, run_checks
checks = list(check_explainer("my-cam"))
[result] = run_checks(check for check in checks if check.name == "batch_matches_single_images")
print(json.dumps([str(result.check), result.check.description, result.message, len(checks)]))
        """,
    )
    text = " ".join(PAGE.split())
    assert f"{check} {description} {message}" in text
    assert f"{count} checks: {count} passed" in text
