"""Malformed files of datasets, weights and trainings: one error each, or what the file contains."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save
from torch import nn

import xai_core as xai
from support.fuzzing import JUNK, changed_bytes, changed_document, examples
from xai_core.errors import XAIError
from xai_zoo.checkpoint import fit, read_state_dict
from xai_zoo.training.encoding import encoded
from xai_zoo.training.state import Epoch, State

SMALL_JUNK = tuple(value for value in JUNK if not isinstance(value, int | float) or abs(value) < 10)
"""Values that allocate no memory if they are sizes."""


def outcome(read: Callable[[], Any]) -> Any:
    """Return what a function reads, or None if it raises an `XAIError`."""
    try:
        return read()
    except XAIError:
        return None


def torch_file(content: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


# Folders, CIFAR-10, and the Hugging Face library


@given(
    content=changed_bytes((lambda file: (Image.new("RGB", (5, 4)).save(file, "PNG"), file.getvalue())[1])(io.BytesIO()))
)
@examples()
def test_fuzzed_images_of_a_folder(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content)
    sample = outcome(lambda: xai.load_dataset(f"folder:{tmp_path}")[0])
    assert sample is None or sample.image.mode == "RGB"


@given(data=st.data(), name=st.sampled_from(["test_batch", "data_batch_1", "batches.meta"]))
@examples(0.5)
def test_fuzzed_files_of_cifar10(
    data: st.DataObject, name: str, cifar10: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # the fixture removes the test of checksums
    file = cifar10 / "cifar-10-batches-py" / name
    file.write_bytes(data.draw(changed_bytes(b"\x80\x04}" + bytes(100))))
    assert outcome(lambda: xai.load_dataset(f"cifar10:{cifar10},split=train")) is None


@pytest.mark.filterwarnings("ignore")  # of `datasets`, about damaged metadata
@given(data=st.data())
@examples(0.5)
def test_fuzzed_files_of_hugging_face(data: st.DataObject, hf: Path) -> None:
    where = data.draw(st.sampled_from(["one", "parquet"]))
    folder = hf / "fuzzed"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(hf / where, folder)
    file = data.draw(st.sampled_from(sorted(path for path in folder.rglob("*") if path.is_file())))
    file.write_bytes(data.draw(changed_bytes(file.read_bytes())))
    spec = f"hf:{folder}" if where == "one" else f"hf:{folder},split=train"
    dataset = outcome(lambda: xai.load_dataset(spec))
    for index in range(min(4, len(dataset)) if dataset is not None else 0):
        sample = outcome(lambda index=index: dataset[index])  # type: ignore[misc]
        assert sample is None or sample.image.mode == "RGB"


# Weights


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Linear(4, 2))


@pytest.mark.filterwarnings("ignore::xai_core.errors.CheckpointWarning")
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@given(data=st.data())
@examples()
def test_fuzzed_bytes_of_weights(data: st.DataObject, suffix: str, tmp_path: Path) -> None:
    model = network()
    state = model.state_dict()
    content = torch_file({"state_dict": state, "epoch": 3}) if suffix == "pth" else save(state)
    (file := tmp_path / f"weights.{suffix}").write_bytes(data.draw(changed_bytes(content)))
    outcome(lambda: fit(model, read_state_dict(file), file))


WEIGHTS: Any = {"state_dict": {"0.weight": [1.0], "0.bias": [2.0]}, "epoch": 3, "args": {"lr": 0.1}}


@pytest.mark.filterwarnings("ignore::xai_core.errors.CheckpointWarning")
@given(document=changed_document(WEIGHTS))
@examples()
def test_fuzzed_entries_of_weights(document: Any, tmp_path: Path) -> None:
    def with_tensors(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: with_tensors(item) for key, item in value.items()}
        return torch.tensor(value).reshape(1, 1) if value == [1.0] else torch.tensor(value) if value == [2.0] else value

    model = nn.Sequential(nn.Linear(1, 1))
    torch.save(with_tensors(document), file := tmp_path / "weights.pth")

    def load() -> bool:
        fit(model, read_state_dict(file), file)
        return True

    if outcome(load):
        assert (model[0].weight.item(), model[0].bias.item()) == (1.0, 2.0)


# States of trainings

SETTINGS = {"model": "own", "rate": 0.1}
EPOCHS = [Epoch(1, 0.1, 2.0, 0.5, 2.0, 0.5, 1.0), Epoch(2, 0.1, 1.0, 0.7, 1.5, 0.8, 1.0)]


def trained() -> tuple[nn.Module, torch.optim.Optimizer]:
    model = nn.Linear(2, 1)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return model, optimizer


@given(data=st.data())
@examples()
def test_fuzzed_bytes_of_a_state(data: st.DataObject, tmp_path: Path) -> None:
    model, optimizer = trained()
    file = tmp_path / "trained.state.safetensors"
    State([*EPOCHS], dict(model.state_dict())).save(file, SETTINGS, model, optimizer)
    file.write_bytes(data.draw(changed_bytes(file.read_bytes())))
    state = outcome(lambda: State.load(file, SETTINGS, model, optimizer))
    if state is not None:
        assert {name: tensor.shape for name, tensor in state.best.items()} == {"weight": (1, 2), "bias": (1,)}
        optimizer.step()


@given(document=changed_document({"settings": SETTINGS, "epochs": [vars(epoch) for epoch in EPOCHS]}))
@examples()
def test_fuzzed_entries_of_a_state(document: Any, tmp_path: Path) -> None:
    model, optimizer = trained()
    file = tmp_path / "trained.state.safetensors"
    weights = {f"{part}.{name}": tensor for part in ("model", "best") for name, tensor in model.state_dict().items()}
    metadata = document if isinstance(document, dict) else {}
    file.write_bytes(encoded(weights, {name: json.dumps(value) for name, value in metadata.items()}))
    state = outcome(lambda: State.load(file, SETTINGS, model, optimizer))
    if state is not None:
        assert metadata["settings"] == SETTINGS
        epochs = [vars(epoch) for epoch in state.epochs]
        assert json.dumps(epochs, sort_keys=True) == json.dumps(metadata["epochs"], sort_keys=True)  # also if NaN
        assert state.best_epoch.epoch <= len(state.epochs)


# Models of transformers

CONFIG = {"num_labels": 2, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import transformers

    folder = tmp_path_factory.mktemp("vit")
    config = transformers.ViTConfig(image_size=8, patch_size=4, **CONFIG)
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 8, "width": 8}).save_pretrained(folder)
    return folder


@pytest.mark.filterwarnings("ignore")  # of transformers, about unusual settings
@given(data=st.data(), name=st.sampled_from(["config.json", "preprocessor_config.json"]))
@examples(0.2)
def test_fuzzed_entries_of_a_model_of_transformers(data: st.DataObject, name: str, vit: Path, tmp_path: Path) -> None:
    shutil.copytree(vit, folder := tmp_path / "vit", dirs_exist_ok=True)
    document = json.loads((vit / name).read_text())
    (folder / name).write_text(json.dumps(data.draw(changed_document(document, SMALL_JUNK))))
    loaded = outcome(lambda: xai.load_model(f"hf:{folder}"))
    if loaded is not None:
        image = outcome(lambda: loaded.preprocess(Image.new("RGB", (9, 7))))
        assert image is None or image.ndim == 3
