"""Benchmarks of models that a file of the user builds: in a worker process, and resumed after a change of the file."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

import xai_core as xai
from support import own_model
from support.benchmark_runs import Speckles, run, same
from xai_core.errors import FileError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    own_model.write(tmp_path)
    return tmp_path


def of_file(out: str, **options: Any) -> xai.Run:
    settings = {"models": "net.py:build,width=6,size=32", "data": Speckles(6), "metrics": "deletion:steps=4"}
    return run(Path(out), **{**settings, **options})


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="the worker is this process")
def test_a_worker_process_builds_the_same_model(capfd: pytest.CaptureFixture[str]) -> None:
    """The code of the file also warns, and runs in no other process."""
    here = of_file("here")
    with Path("parts.py").open("a") as file:
        file.write("import os, warnings\nprint('process', os.getpid())\nwarnings.warn('the file will move')\n")
    with pytest.warns(UserWarning, match="the file will move"):
        there = of_file("there", in_process=False)
    assert same(here, there)
    processes = re.findall(r"process (\d+)", capfd.readouterr().out)
    assert processes
    assert str(os.getpid()) not in processes


def test_the_manifest_covers_the_files() -> None:
    manifest = of_file("run", metrics="deletion:steps=4", methods="grad-cam").manifest
    assert list(manifest.code) == ["net.py:build,width=6,size=32"]


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("net.py", "SCALE = 2", "SCALE = 3"),
        ("net.py", "SCALE * scores", "scores"),
        ("parts.py", "width, 5", "width, 5, True"),
    ],
)
def test_a_changed_file_is_another_model(file: str, old: str, new: str) -> None:
    of_file("run", methods="grad-cam")
    text = Path(file).read_text()
    Path(file).write_text(text + "\n# A comment.\n")
    of_file("run", methods="grad-cam")
    Path(file).write_text(text.replace(old, new))
    with pytest.raises(FileError, match=r"another manifest \(code\.net"):
        of_file("run", methods="grad-cam")
