"""`xai explain` with a checkpoint of a training library, its own labels, and mistakes in them."""

from pathlib import Path

import pytest
import torch
from PIL import Image

import xai_core as xai
from support.command_line import Did

MODEL = "timm:test_efficientnet,num_classes=3,size=32"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder with an image, labels and a checkpoint as Lightning writes it."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (40, 30), "teal").save("photo.png")
    Path("labels.txt").write_text("red\ngreen\nblue\n")
    state = xai.load_model(f"{MODEL},weights=none").model.state_dict()
    state = {f"model.{key}": value for key, value in state.items()}
    torch.save({"epoch": 3, "state_dict": {**state, "loss.weight": torch.ones(3)}}, "last.ckpt")


def explain(model: str, *options: str) -> Did:
    return Did("explain", "photo.png", "--model", model, "--method", "grad-cam", "--out", "maps", *options)


@pytest.mark.filterwarnings("default")
def test_a_checkpoint_is_explained_with_its_labels() -> None:
    did = explain(f"{MODEL},checkpoint=last.ckpt,labels=labels.txt", "--target", "green")
    assert did.code == 0, did.err
    assert "green" in did.out
    assert did.err == "warning: last.ckpt: loaded the weights with the prefix 'model.', and ignored loss.weight\n"
    assert Path("maps/photo.grad-cam.png").exists()


def test_labels_of_other_classes_are_an_error() -> None:
    did = explain(f"{MODEL},weights=none,labels=red+green")
    assert did.code == 2
    assert "error: the model has 3 classes, but 2 class names; pass labels= with one name per class" in did.err
