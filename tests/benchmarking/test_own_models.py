"""Benchmarks of models that a file of the user builds: in other processes, and resumed after a change of the file."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

import support
import xai_core as xai
from support.benchmark_runs import Speckles, run, same
from support.on_ray import run_driver
from xai_core.errors import FileError

NET = """
from torch import nn
from parts import head

SCALE = 2


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, width, 3, 2), nn.ReLU(), nn.Conv2d(width, width, 3, 2), nn.ReLU())
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), head(width)

    def forward(self, images):
        return scaled(self.head(self.pool(self.features(images)).flatten(1)))


def scaled(scores):
    return SCALE * scores


def build(width=4):
    return Net(width)
"""
PARTS = """
from torch import nn


def head(width):
    return nn.Linear(width, 5)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET)
    Path("parts.py").write_text(PARTS)
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


@pytest.mark.slow
def test_actors_of_ray_build_the_same_model(folder: Path) -> None:
    code = "from test_own_models import *; of_file('ray', backend='ray', workers=1)"
    run_driver(code, Path(support.__file__).parents[1], Path(__file__).parent)
    assert same(of_file("here"), xai.Run.read("ray"))


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
