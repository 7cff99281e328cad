"""Models of transformers from folders: architecture, preprocessing, class names, and folders that are rejected."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import xai_core as xai
from xai_core.errors import CheckpointError, FileError, OptionError, UnknownModelError, UnsuitableError, XAIError
from xai_core.testing import check_model_source
from xai_zoo.hugging_face_models import HuggingFaceModels

transformers = pytest.importorskip("transformers")
NAMES = {0: "red", 1: "green", 2: "blue"}


def vit(**options: Any) -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = transformers.ViTConfig(**sizes, image_size=64, patch_size=16, id2label=NAMES, **options)
    return transformers.ViTForImageClassification(config)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A vision transformer with its processor, as `save_pretrained` writes them."""
    vit().save_pretrained(tmp_path)
    transformers.ViTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def noise() -> Image.Image:
    pixels = torch.randint(0, 256, (100, 150, 3), generator=torch.Generator().manual_seed(0))
    return Image.fromarray(pixels.byte().numpy())


def as_tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255


def test_a_classifier_with_its_processor_and_labels(folder: Path, noise: Image.Image) -> None:
    loaded = xai.load_model(f"hf:{folder}")
    assert loaded.class_names == ["red", "green", "blue"]
    expected = transformers.ViTImageProcessor.from_pretrained(folder)(noise, return_tensors="pt")["pixel_values"][0]
    assert torch.equal(loaded.preprocess(noise), expected)
    torch.testing.assert_close(loaded.preprocess(as_tensor(noise)), expected, atol=0.02, rtol=0)
    with torch.no_grad():
        assert torch.equal(loaded.model(expected[None]).logits, vit().eval()(expected[None]).logits)
    assert loaded.restore is not None
    torch.testing.assert_close(
        loaded.restore(loaded.preprocess(torch.full((3, 70, 70), 0.3))), torch.full((3, 64, 64), 0.3)
    )
    assert not loaded.model.training
    maps = xai.Engine(loaded).explain(expected[None], "grad-cam,rollout,legrad", target=1)
    assert [each.values.shape for each in maps.values()] == [(1, 64, 64)] * 3


def test_the_conformance_checks_pass(folder: Path) -> None:
    for check in check_model_source(HuggingFaceModels, str(folder)):
        check()


def test_a_segmentation_model_is_loaded_by_its_architecture(tmp_path: Path, noise: Image.Image) -> None:
    sizes = {"hidden_sizes": [8, 16, 16, 32], "decoder_hidden_size": 16}
    transformers.SegformerForSemanticSegmentation(transformers.SegformerConfig(num_labels=4, **sizes)).save_pretrained(
        tmp_path
    )
    transformers.SegformerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(tmp_path)
    loaded = xai.load_model(f"hf:{tmp_path}")
    assert type(loaded.model).__name__ == "SegformerForSemanticSegmentation"
    assert loaded.model(loaded.preprocess(noise)[None]).logits.shape == (1, 4, 16, 16)
    assert loaded.class_names is None


@pytest.mark.parametrize(
    "processor",
    [
        {"name": "ConvNextImageProcessor", "size": {"shortest_edge": 64}, "crop_pct": 0.875},
        {"name": "CLIPImageProcessor", "size": {"shortest_edge": 80}, "crop_size": {"height": 64, "width": 64}},
        {"name": "ViTImageProcessor", "size": {"height": 64, "width": 64}, "do_normalize": False},
    ],
    ids=lambda processor: processor["name"],
)
def test_options_replace_the_settings_of_the_processor(
    processor: dict[str, Any], tmp_path: Path, noise: Image.Image
) -> None:
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=3)
    transformers.ResNetForImageClassification(config).save_pretrained(tmp_path)
    arguments = {key: value for key, value in processor.items() if key != "name"}
    getattr(transformers, processor["name"])(**arguments).save_pretrained(tmp_path)
    assert xai.load_model(f"hf:{tmp_path}").preprocess(noise).shape == (3, 64, 64)
    loaded = xai.load_model(f"hf:{tmp_path},size=48,mean=0.5,std=0.25")
    for image in (noise, as_tensor(noise)):
        assert loaded.preprocess(image).shape == (3, 48, 48)
    torch.testing.assert_close(
        loaded.preprocess(torch.ones(3, 99, 99)), torch.full((3, 48, 48), 2.0), atol=1e-4, rtol=0
    )
    assert torch.equal(xai.load_model(loaded.spec).preprocess(noise), loaded.preprocess(noise))


def test_a_size_that_the_processor_cannot_produce_is_rejected(folder: Path) -> None:
    transformers.ConvNextImageProcessor(size={"shortest_edge": 64}).save_pretrained(folder)
    with pytest.raises(OptionError, match="does not support size=32x48"):
        xai.load_model(f"hf:{folder},size=32x48")


def test_a_folder_without_a_processor_requires_the_options(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(OptionError, match=r"no preprocessor_config\.json; set size=, mean= and std="):
        xai.load_model(f"hf:{folder}")
    loaded = xai.load_model(f"hf:{folder},size=64,mean=0.5,std=0.5")
    torch.testing.assert_close(loaded.preprocess(torch.ones(3, 80, 80)), torch.ones(3, 64, 64))


class Payload:
    """Code that a weights file must never run."""

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("executed"),)


def test_pickled_code_and_code_of_the_folder_never_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    Path("code.py").write_text("from pathlib import Path\nPath('executed').touch()\n")
    config = json.loads(Path("config.json").read_text())
    config["auto_map"] = {"AutoConfig": "code.Config", "AutoModelForImageClassification": "code.Model"}
    Path("config.json").write_text(json.dumps(config))
    xai.load_model(f"hf:{folder}")
    state = vit().state_dict()
    torch.save({**state, "payload": Payload()}, "pytorch_model.bin")
    xai.load_model(f"hf:{folder}")  # safetensors come first
    Path("model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        xai.load_model(f"hf:{folder}")
    assert not Path("executed").exists()
    torch.save(state, "pytorch_model.bin")
    assert torch.equal(xai.load_model(f"hf:{folder}").model.state_dict()["classifier.bias"], state["classifier.bias"])


def test_pickled_weights_that_unpack_to_a_large_file_are_rejected(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "model.safetensors").unlink()
    stored, packed = folder / "stored.pth", folder / "pytorch_model.bin"
    torch.save({key: torch.zeros_like(value) for key, value in vit().state_dict().items()}, stored)
    with zipfile.ZipFile(stored) as archive, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as copy:
        for name in archive.namelist():
            copy.writestr(name, archive.read(name))
    monkeypatch.setenv("XAI_MAX_CHECKPOINT_BYTES", "20000")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin has .* unpacks to .*; expected at most 20,000"):
        xai.load_model(f"hf:{folder}")
    (shards := folder / "shards").mkdir()
    packed.rename(shards / "weights.pt")  # a name that only an index lists
    index = folder / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": dict.fromkeys(vit().state_dict(), "shards/weights.pt"), "metadata": {}}))
    with pytest.raises(CheckpointError, match=r"weights\.pt has .* unpacks to .*; expected at most 20,000"):
        xai.load_model(f"hf:{folder}")
    index.write_text("[]")
    with pytest.raises(CheckpointError, match=r"index\.json cannot be read"):
        xai.load_model(f"hf:{folder}")
    index.unlink()
    (shards / "weights.pt").rename(packed)
    packed.write_bytes(packed.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin cannot be read"):
        xai.load_model(f"hf:{folder}")


def edit(folder: Path, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"architectures": ["ViTForAnything"]}, CheckpointError, "has no architecture 'ViTForAnything'"),
        ({"architectures": ["BertModel"]}, UnsuitableError, "BertModel in .* does not take images"),
        ({"model_type": "anything"}, CheckpointError, r"config\.json cannot be read"),
        ({"architectures": True}, CheckpointError, r"config\.json: architectures must be a list, got True"),
        ({"num_channels": "3"}, CheckpointError, r"config\.json.*num_channels"),
        ({"num_hidden_layers": 3}, CheckpointError, "do not match ViTForImageClassification. missing: "),
        ({"id2label": {"0": "a", "1": "b"}}, CheckpointError, "cannot be loaded|do not match"),
    ],
)
def test_folders_that_do_not_match_are_rejected(
    values: dict[str, Any], error: type[XAIError], message: str, folder: Path
) -> None:
    edit(folder, **values)
    with pytest.raises(error, match=message):
        xai.load_model(f"hf:{folder}")


def test_what_is_no_folder_of_transformers_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match=r"does not exist; .*Models of the hub are not downloaded"):
        xai.load_model("hf:google/vit-base-patch16-224")
    with pytest.raises(FileError, match=r"contains no config\.json; expected a folder that `model\.save_pretrained"):
        xai.load_model(f"hf:{tmp_path}")
    with pytest.raises(UnknownModelError, match="the folder is missing"):
        xai.load_model("hf")
