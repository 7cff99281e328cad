"""Models of transformers that compare images with texts, from folders with their tokenizers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import xai_core as xai
from support.command_line import Run, refused
from support.dual_encoders import DUAL_ENCODERS, word_tokenizer
from xai_core.errors import CheckpointError

transformers = pytest.importorskip("transformers")
TEXT = "a red star"


def saved(folder: Path, name: str, together: bool) -> Path:
    """Save a model with its processor and tokenizer, `together` in one processor or separately."""
    DUAL_ENCODERS[name].build().save_pretrained(folder)
    images = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    parts: list[Any] = [images, word_tokenizer()]
    for part in [transformers.CLIPProcessor(*parts)] if together else parts:
        part.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return saved(tmp_path / "clip", "CLIP", together=False)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize(("name", "together"), [("CLIP", True), ("CLIP", False), ("SigLIP", False)])
def test_a_text_is_explained_on_the_command_line(name: str, together: bool, tmp_path: Path, photo: Path) -> None:
    folder, out = saved(tmp_path / "model", name, together), tmp_path / "out"
    run = Run("explain", photo, "--model", f"hf:{folder}", "--text", TEXT, "--method", "grad-eclip", "--out", out)
    assert run.code == 0, run.err
    [row] = json.loads((out / "photo.json").read_text())["maps"]
    images = xai.load_image(photo, xai.load_model(f"hf:{folder}"))
    expected = DUAL_ENCODERS[name].logits(DUAL_ENCODERS[name].build(), images, [TEXT])
    assert row["logit"] == pytest.approx(float(expected.detach()), abs=1e-4)
    assert np.load(out / row["array"]).shape == (32, 32)


def test_a_folder_without_a_tokenizer_is_rejected(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(CheckpointError, match=r"the tokenizer in .* cannot be loaded .*tokenizer.save_pretrained"):
        xai.load_model(f"hf:{folder}")


def test_a_damaged_tokenizer_is_rejected(folder: Path, photo: Path) -> None:
    (folder / "tokenizer.json").write_text("{")
    refused(Run("explain", photo, "--model", f"hf:{folder}", "--text", TEXT), "the tokenizer in", "cannot be loaded")


def test_a_classifier_from_a_folder_is_explained_on_the_command_line(tmp_path: Path, photo: Path) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = transformers.ViTConfig(**sizes, image_size=32, patch_size=8)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "vit")
    out = tmp_path / "out"
    run = Run("explain", photo, "--model", f"hf:{tmp_path / 'vit'}", "--method", "grad-cam", "--out", out)
    assert run.code == 0, run.err
    with Image.open(out / "photo.grad-cam.png") as overlay:
        assert overlay.size == (64, 48)
