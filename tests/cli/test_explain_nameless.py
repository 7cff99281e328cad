"""`xai explain` on models without class names: one error states which option selects the target."""

from pathlib import Path

import pytest

from support.command_line import Run, refused
from support.tiny_models import save

MODELS = """
import torch
from torch import nn

def detector():
    import xai_core as xai
    return xai.load_model("shapes-detector").model

def segmenter():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1)).eval()
"""


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "nameless.py"
    path.write_text(MODELS)
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return save(tmp_path / "photo.png", size=(64, 64))


@pytest.mark.parametrize("options", [("--target", "star"), ("--box", "1,2,60,60,star")])
def test_names_for_a_detector_without_names_are_refused(models: Path, photo: Path, options: tuple[str, ...]) -> None:
    run = Run("explain", photo, "--model", f"{models}:detector", *options)
    refused(run, "no class names: pass a class id instead of 'star'", "for a detector, pass --box or --top")


@pytest.mark.parametrize("options", [(), ("--top", "1"), ("--target", "star")])
def test_regions_of_a_segmenter_without_names_need_an_id(models: Path, photo: Path, options: tuple[str, ...]) -> None:
    refused(Run("explain", photo, "--model", f"{models}:segmenter", *options), "--target 0", "no", "names")


def test_the_id_explains_a_segmenter_without_names(models: Path, photo: Path) -> None:
    run = Run("explain", photo, "--model", f"{models}:segmenter", "--target", "0", "--method", "grad-cam")
    assert run.code == 0, run.err
    assert "class 0" in run.out
