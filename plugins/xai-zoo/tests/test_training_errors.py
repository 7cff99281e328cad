"""`xai-zoo train` and `accuracy` with unusual or damaged input: one error each."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from xai_core.errors import CheckpointError, DatasetError, ModelOutputError, OptionError, TargetError
from xai_zoo.cli import app
from xai_zoo.training.encoding import encoded
from xai_zoo.training.images import steps_per_epoch
from xai_zoo.training.loop import measure
from xai_zoo.training.objectives import Classification
from xai_zoo.training.state import State

MODEL = "cifar-vit:size=32,patch=8,dim=16,heads=2,depth=1,mlp=16"
DATA = "shapes:size=32,count=20"
OWN = """
from torch import nn

def normalized(): return nn.Sequential(nn.Conv2d(3, 10, 32), nn.BatchNorm2d(10), nn.Flatten())

class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
    def forward(self, images): return {"features": images, "logits": self.inner(images)}

class Pixels(nn.Conv2d):
    def __init__(self): super().__init__(3, 10, 1)

class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3072, 10)
        self.second = nn.Linear(3072, 10)
        self.second.weight = self.first.weight
    def forward(self, images): return self.first(images.flatten(1)) + self.second(images.flatten(1))

class Nothing(nn.Module):
    def forward(self, images): return images.mean((2, 3))
"""
"""Models of a user: batch norm after a global convolution, named outputs, scores of pixels, tied weights, nothing."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["--debug", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def train(*options: str, model: str = MODEL, data: str = DATA, out: str = "trained.safetensors") -> str:
    return run("train", model, "--data", data, "--out", out, "--epochs", "2", "--batch", "16", *options)


def test_data_without_classes_and_models_with_too_few_are_refused() -> None:
    with pytest.raises(TargetError, match="has no label"):
        train(data="photos")
    with pytest.raises(TargetError, match="model has 4 classes"):
        train(model=f"{MODEL},num_classes=4", out="four.safetensors")


def test_out_must_be_a_safetensors_file() -> None:
    with pytest.raises(OptionError, match=r"ends in \.safetensors"):
        train(out="weights.pt")


def test_a_class_that_the_model_does_not_have_is_refused_in_validation_and_accuracy() -> None:
    model, data = f"{MODEL},num_classes=4", "shapes:size=32,count=4"
    with pytest.raises(TargetError, match="contains label 9, but the model has 4 classes, 0 to 3"):
        train("--validation", "shapes:size=32,count=10,split=validation", model=model, data=data)
    with pytest.raises(TargetError, match="contains label 9, but the model has 4 classes"):
        run("accuracy", model, "--data", "shapes:size=32,count=10")
    with pytest.raises(TargetError, match="contains label -100, but"):  # cross-entropy ignores it
        Classification().measure(torch.nn.Identity(), torch.zeros(2, 4), torch.tensor([-100, 3]))


@pytest.mark.parametrize(("count", "batch", "steps"), [(17, 16, 1), (16, 16, 1), (18, 16, 2), (1, 16, 1), (5, 1, 5)])
def test_a_last_batch_of_one_image_is_left_out(count: int, batch: int, steps: int) -> None:
    assert steps_per_epoch(count, batch) == steps


def test_batch_norm_trains_with_a_last_batch_of_one_image() -> None:
    train("--validation", "shapes:size=32,count=17", data="shapes:size=32,count=17", model="own.py:normalized,size=32")


@pytest.mark.parametrize("options", [["--batch", "1"], ["--validation", DATA, "--data", "shapes:size=32,count=1"]])
def test_batch_norm_of_one_image_is_refused(options: list[str]) -> None:
    with pytest.raises(OptionError, match=r"batch of one image .*use more images, or a --batch of at least 2"):
        train(*options, model="own.py:normalized,size=32")


def test_data_without_enough_images_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"count=1 contains one image; expected a second one.*or --validation"):
        train(data="shapes:size=32,count=1")
    with pytest.raises(DatasetError, match="contains no image"):
        measure(torch.nn.Flatten(), Classification(), [])


@pytest.mark.parametrize("model", ["own.py:Pixels,size=32", "unet:size=32,num_classes=10"])
def test_a_model_without_class_scores_is_refused(model: str) -> None:
    with pytest.raises(ModelOutputError, match=r"class scores \[16, classes\] .*got \[16, 10, 32, 32\].*classifies"):
        train(model=model)
    with pytest.raises(ModelOutputError, match=r"class scores \[20, classes\] .*got \[20, 10, 32, 32\]"):
        run("accuracy", model, "--data", DATA)


def test_scores_are_found_in_an_output_of_several_parts() -> None:
    train(model="own.py:Named,size=32")
    assert "accuracy 0." in run("accuracy", "own.py:Named,size=32,weights=trained.safetensors", "--data", DATA)


def test_a_model_with_tied_weights_is_trained() -> None:
    train(model="own.py:Tied,size=32")
    weights = load_file("trained.safetensors")
    assert torch.equal(weights["first.weight"], weights["second.weight"])


def test_the_accuracy_of_a_model_without_parameters_is_measured() -> None:
    assert "on 3 images" in run("accuracy", "own.py:Nothing,size=32", "--data", "shapes:size=32,count=3")


@pytest.mark.slow
def test_an_error_in_a_process_that_loads_images_is_one_line() -> None:
    with pytest.raises(TargetError, match=r"\Achelsea has no label; expected .*\Z"):
        run("accuracy", MODEL, "--data", "photos:chelsea", "--workers", "1")


@pytest.mark.parametrize("option", ["--batch", "--workers"])
def test_options_of_accuracy_are_checked(option: str) -> None:
    with pytest.raises(OptionError, match=f"{option[2:]} must be"):
        run("accuracy", MODEL, "--data", DATA, option, "-1")
    with pytest.raises(OptionError, match=f"{option[2:]} must be"):
        train(option, "-1")


# Damaged states


class Interrupted(Exception):
    pass


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state of a training that was interrupted after its first epoch."""
    save = State.save

    def save_and_stop(state: State, *args: Any) -> None:
        save(state, *args)
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(State, "save", save_and_stop)
        with pytest.raises(Interrupted):
            train()
    return Path("trained.state.safetensors")


def damaged(state: Path, tensors: dict[str, torch.Tensor | None], metadata: dict[str, str | None]) -> None:
    """Replace entries of a state. None removes an entry."""
    content: dict[str, Any] = {**load_file(state), **tensors}
    with safe_open(state, "pt") as file:
        texts: dict[str, Any] = {**file.metadata(), "sha256": None, **metadata}
    kept = {name: tensor for name, tensor in content.items() if tensor is not None}
    written = {name: text for name, text in texts.items() if text is not None}
    written["sha256"] = hashlib.sha256(encoded(kept, written)).hexdigest()
    save_file(kept, state, written)


EPOCH = {"epoch": 1, "rate": 0, "loss": 0, "accuracy": 0, "validation_loss": 0, "validation_accuracy": 0, "seconds": 0}


@pytest.mark.parametrize(
    ("tensors", "metadata", "reason"),
    [
        ({"model.head.bias": None}, {}, r"it has nothing for head\.bias; expected \[10\]"),
        ({"best.head.bias": torch.zeros(3)}, {}, r"it has \[3\] for head\.bias"),
        ({"best.more": torch.zeros(3)}, {}, r"it has \[3\] for more; expected nothing"),
        ({"optimizer.0.exp_avg": torch.zeros(3)}, {}, "for exp_avg; expected"),
        ({"optimizer.0.step": None}, {}, "it has nothing for step"),
        ({"optimizer.999.step": torch.zeros(())}, {}, "its optimizer has the parameter 999"),
        ({"optimizer.x.step": torch.zeros(())}, {}, "invalid literal"),
        ({}, {"settings": None}, "KeyError: 'settings'"),
        ({}, {"settings": "{"}, "JSONDecodeError"),
        ({}, {"settings": "3"}, "its settings are 3"),
        ({}, {"epochs": "[]"}, "not numbered from 1"),
        ({}, {"epochs": "[{}]"}, "TypeError"),
        ({}, {"epochs": json.dumps([{**EPOCH, "epoch": 2}])}, "not numbered from 1"),
        ({}, {"epochs": json.dumps([{**EPOCH, "loss": "low"}])}, "values that are not numbers"),
    ],
)
def test_a_damaged_state_is_refused(
    tensors: dict[str, torch.Tensor | None], metadata: dict[str, str | None], reason: str, state: Path
) -> None:
    damaged(state, tensors, metadata)
    with pytest.raises(CheckpointError, match=rf"state\.safetensors is not the state .*{reason}.*delete it"):
        train()


@pytest.mark.parametrize("part", ["length", "metadata", "names", "first tensor", "last byte"])
def test_a_flipped_bit_is_refused(part: str, state: Path) -> None:
    content = bytearray(state.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    offsets = {"length": 0, "metadata": content.index(b"0."), "names": content.index(b"bias"), "first tensor": start}
    content[offsets.get(part, len(content) - 1)] ^= 1
    state.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"state\.safetensors is not the state of a training run.*delete it"):
        train()


@pytest.mark.parametrize("content", [b"", b"no", b"\x02\0\0\0\0\0\0\0{}", bytes(100)])
def test_a_state_that_is_another_file_is_refused(content: bytes) -> None:
    Path("trained.state.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"state\.safetensors is not the state of a training run"):
        train()
    Path("trained.state.safetensors").unlink()
    Path("trained.state.safetensors").mkdir()
    with pytest.raises(CheckpointError, match="it is not a regular file"):
        train()
