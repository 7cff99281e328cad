"""The demonstration also shows attention heads, if the weights of the model are installed."""

import csv
from pathlib import Path

import pytest

from support.command_line import Run
from support.tiny_models import register
from xai_core.cli.actions import demo, demonstration, heads_demonstration
from xai_core.errors import FileError

SHOWN, HEADS = ("tiny:cnn", "shapes:size=32"), ("tiny:vit", "shapes:size=32,seed=3")


@pytest.fixture
def heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny models in place of the real ones, and two methods."""
    register(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "SHOWN", [SHOWN])
    monkeypatch.setattr(demo, "DATA", HEADS[1])
    monkeypatch.setattr(heads_demonstration, "MODEL", HEADS[0])
    monkeypatch.setattr(demonstration, "list_explainers", lambda: ["grad-cam", "head-attention"])


@pytest.mark.usefixtures("heads")
def test_each_head_is_shown_without_scores() -> None:
    run = Run("demo", "--limit", 2)
    assert run.code == 0, run.err
    files = {path.name for path in Path("xai-demo/tiny-vit").iterdir()}
    assert files == {
        f"train-{index}.{name}.png" for index in (0, 1) for name in ("photo", "head-attention", "head-attention.parts")
    }
    with Path("xai-demo/results.csv").open() as file:
        assert {row["model"] for row in csv.DictReader(file)} == {"tiny:cnn"}
    page = Path("xai-demo/index.html").read_text()
    [section] = page.split(f"{HEADS[0]} on {HEADS[1]}</h2>")[1:]
    assert section.count("Partial maps of head-attention") == 2
    assert "predicted" not in section.partition("</section>")[0]
    assert "perturbation curves" not in section.partition("</section>")[0]
    assert f"{HEADS[0]} on {HEADS[1]}: 2 images, 1 method, 0 skipped" in run.out
    assert run.out.count("mean insertion") == 1


@pytest.mark.usefixtures("heads")
@pytest.mark.parametrize("missing", ["weights", "method", "default"])
def test_without_weights_or_method_or_with_a_chosen_model_no_heads_are_shown(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_installed(*_: object) -> None:
        raise FileError("the weights are not installed")

    if missing == "weights":
        monkeypatch.setattr(heads_demonstration, "load", not_installed)
    elif missing == "method":
        monkeypatch.setattr(heads_demonstration, "list_explainers", lambda: ["grad-cam"])
    run = Run("demo", "--limit", 1, *(["--model", SHOWN[0], "--data", SHOWN[1]] if missing == "default" else []))
    assert run.code == 0, run.err
    assert HEADS[0] not in Path("xai-demo/index.html").read_text()
