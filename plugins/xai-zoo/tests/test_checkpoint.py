"""Weights from files: what is loaded, and what is refused with the names of the differences."""

import os
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import DenseNet

import xai_core as xai
from support.pictures import predict
from xai_core.errors import (
    CheckpointError,
    FileError,
)


@pytest.mark.parametrize("model", ["torchvision:shufflenet_v2_x0_5", "timm:test_efficientnet"])
@pytest.mark.parametrize(
    "form", ["safetensors", "plain", "state_dict", "model", "module.", "_orig_mod.module.", "half"]
)
def test_saved_weights_come_back(model: str, form: str, tmp_path: Path) -> None:
    spec = f"{model},weights=none,num_classes=5"
    original = xai.load_model(spec)
    for module in original.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
    state = original.model.state_dict()
    file = tmp_path / ("weights.safetensors" if form == "safetensors" else "weights.pth")
    if form == "safetensors":
        save_file(state, file)
    elif form in ("state_dict", "model"):
        torch.save({"epoch": 3, form: state}, file)
    elif form == "half":
        torch.save({key: value.half() for key, value in state.items()}, file)
    else:
        torch.save({form.replace("plain", "") + key: value for key, value in state.items()}, file)
    loaded = xai.load_model(spec.replace("weights=none", f"weights={file}"))
    for key, value in loaded.model.state_dict().items():
        expected = state[key].half().to(value.dtype) if form == "half" else state[key]
        torch.testing.assert_close(value, expected, atol=0, rtol=0)
    assert str(file) in loaded.spec


def test_published_densenet_names_are_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.models.densenet.DenseNet", lambda *_, **options: DenseNet(4, (2, 1), 8, **options))
    original = xai.load_model("torchvision:densenet121,weights=none,num_classes=2").model
    published = {
        key if "denselayer" not in key else key.replace("norm1", "norm.1").replace("conv2", "conv.2"): value
        for key, value in original.state_dict().items()
    }
    assert published.keys() != original.state_dict().keys()
    torch.save(published, tmp_path / "densenet.pth")
    loaded = xai.load_model(f"torchvision:densenet121,num_classes=2,weights={tmp_path / 'densenet.pth'}").model
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in original.state_dict().items())


def test_mnasnet_comes_back_from_a_file_without_versions(tmp_path: Path) -> None:
    original = xai.load_model("torchvision:mnasnet0_5,weights=none,num_classes=2").model
    save_file(original.state_dict(), tmp_path / "mnasnet.safetensors")
    loaded = xai.load_model(f"torchvision:mnasnet0_5,num_classes=2,weights={tmp_path / 'mnasnet.safetensors'}").model
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in original.state_dict().items())


def test_timm_fits_a_position_grid_of_another_size(tmp_path: Path) -> None:
    spec = "timm:vit_tiny_patch16_224,depth=1,num_classes=2"
    original = xai.load_model(f"{spec},weights=none").model
    save_file(original.state_dict(), tmp_path / "vit.safetensors")
    loaded = xai.load_model(f"{spec},img_size=96,weights={tmp_path / 'vit.safetensors'}")
    assert loaded.model.state_dict()["pos_embed"].shape == (1, 1 + 6 * 6, 192)
    assert torch.equal(loaded.model.state_dict()["head.weight"], original.state_dict()["head.weight"])
    assert predict(loaded, torch.rand(3, 96, 96)).shape == (2,)


@pytest.mark.parametrize("source", ["torchvision", "timm"])
def test_weights_of_another_model_are_refused_by_name(source: str, resnet18: nn.Module, tmp_path: Path) -> None:
    state = resnet18.state_dict()

    def refused(change: dict[str, Tensor | None]) -> str:
        changed = {key: value for key, value in {**state, **change}.items() if value is not None}
        torch.save(changed, tmp_path / "misfit.pth")
        with pytest.raises(CheckpointError, match=r"misfit\.pth does not match ResNet") as caught:
            xai.load_model(f"{source}:resnet18,num_classes=5,weights={tmp_path / 'misfit.pth'}")
        return str(caught.value)

    assert "missing: conv1.weight." in refused({"conv1.weight": None})
    assert "unexpected: neck.weight." in refused({"neck.weight": torch.zeros(1)})
    message = refused({"fc.weight": torch.zeros(3, 512)})
    assert "fc.weight (file: [3, 512], model: [5, 512])" in message
    assert message.endswith("such as num_classes=3")
    message = refused(dict.fromkeys([key for key in state if "layer1" in key], None))
    assert "and " in message
    assert message.count("layer1") == 3


def test_weights_of_another_family_are_refused(resnet18: nn.Module, tmp_path: Path) -> None:
    torch.save(resnet18.state_dict(), tmp_path / "resnet.pth")
    for spec in (
        "timm:vit_tiny_patch16_224",
        "timm:convnext_atto",
        "torchvision:mobilenet_v2",
        "torchvision:squeezenet1_1",
    ):
        with pytest.raises(CheckpointError, match=r"missing: .*unexpected: conv1\.weight"):
            xai.load_model(f"{spec},weights={tmp_path / 'resnet.pth'}")


def test_counts_of_batches_may_be_missing(resnet18: nn.Module, tmp_path: Path) -> None:
    state = {key: value for key, value in resnet18.state_dict().items() if "num_batches" not in key}
    save_file(state, tmp_path / "old.safetensors")
    xai.load_model(f"torchvision:resnet18,num_classes=5,weights={tmp_path / 'old.safetensors'}")


class Payload:
    """Code that a checkpoint must never run."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("source", ["torchvision", "timm"])
@pytest.mark.parametrize(
    "content",
    [b"", b"not a checkpoint", [1, 2], {}, {"epoch": 3}, {"state_dict": {}}, torch.zeros(2), nn.ReLU(), Payload()],
    ids=lambda content: type(content).__name__,
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_not_a_state_dict_is_refused(
    source: str, content: object, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / f"weights{suffix}"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(CheckpointError, match=rf"weights{suffix}.*expected a file that `torch\.save"):
        xai.load_model(f"{source}:resnet18,weights={file}")
    assert not (tmp_path / "executed").exists()


def test_a_checkpoint_that_contains_itself_is_refused(tmp_path: Path) -> None:
    inner: dict[str, object] = {"epoch": 3}
    inner["state_dict"] = {"model": inner}
    for content in (inner, {"teacher": inner}):
        torch.save(content, tmp_path / "cycle.pth")
        with pytest.raises(
            CheckpointError, match=r"cycle\.pth contains a dict that contains itself under '(model|state_dict)'"
        ):
            xai.load_model(f"torchvision:resnet18,weights={tmp_path / 'cycle.pth'}")


def test_a_small_file_that_unpacks_to_a_large_one_is_refused(
    tmp_path: Path, resnet18: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, packed = tmp_path / "stored.pth", tmp_path / "packed.pth"
    state = {key: torch.zeros_like(value) for key, value in resnet18.state_dict().items()}
    torch.save(state, stored)
    with zipfile.ZipFile(stored) as archive, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as copy:
        for name in archive.namelist():
            copy.writestr(name, archive.read(name))
    spec = "torchvision:resnet18,num_classes=5,weights="
    xai.load_model(f"{spec}{packed}")
    monkeypatch.setattr("xai_zoo.torch_file._DEFAULT", 10**6)
    xai.load_model(f"{spec}{stored}")
    with pytest.raises(
        CheckpointError, match=r"packed\.pth has .* unpacks to .*; expected at most 1,000,000.*set XAI_MAX_"
    ):
        xai.load_model(f"{spec}{packed}")
    monkeypatch.setenv("XAI_MAX_CHECKPOINT_BYTES", "100000000")
    xai.load_model(f"{spec}{packed}")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_truncated_checkpoint_is_refused(suffix: str, resnet18: nn.Module, tmp_path: Path) -> None:
    file = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(resnet18.state_dict(), file)
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="cannot be read"):
        xai.load_model(f"torchvision:resnet18,weights={file}")


@pytest.mark.parametrize("source", ["torchvision", "timm"])
def test_a_missing_weights_file_is_named(source: str, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"none\.pth does not exist"):
        xai.load_model(f"{source}:resnet18,weights={tmp_path / 'none.pth'}")
    with pytest.raises(FileError, match="is a folder"):
        xai.load_model(f"{source}:resnet18,weights={tmp_path}")


def test_a_failed_fit_reports_old_layouts_too(tmp_path: Path) -> None:
    torch.save(OrderedDict({"module.a": torch.zeros(1)}), tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="unexpected: a"):
        xai.load_model(f"torchvision:resnet18,weights={tmp_path / 'a.pth'}")
