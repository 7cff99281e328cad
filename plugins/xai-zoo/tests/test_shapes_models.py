"""The models trained on shapes: their accuracy on unseen images, and what they rely on."""

from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

import xai_core as xai
import xai_zoo
from xai_core.errors import OptionError, UnknownModelError

WEIGHTS = Path(xai_zoo.__file__).parent / "weights"
MODELS = ["shapes-vit", "shapes-vit:pool=class", "shapes-cbam"]
EACH = [(model, data) for model in MODELS for data in ("shapes", "shapes-shortcut")]


def with_option(spec: str, option: str) -> str:
    return f"{spec}{',' if ':' in spec else ':'}{option}"


def weights(model: str, data: str) -> Path:
    return WEIGHTS / f"{model.replace(':pool=', '-')}-{data}.safetensors"


@cache
def unseen(data: str, count: int) -> tuple[Tensor, Tensor]:
    """Images and classes of the test split, which no training has seen."""
    samples = xai.load_dataset(data, split="test", count=count)
    images, targets = zip(
        *[(sample.image, sample.target) for sample in (samples[i] for i in range(count))], strict=True
    )
    return torch.stack(images), torch.tensor(targets)


@torch.no_grad()
def accuracy(spec: str, data: str, count: int) -> float:
    images, targets = unseen(data, count)
    loaded = xai.load_model(spec)
    right = [
        loaded.model(torch.stack([loaded.preprocess(image) for image in images[part]])).argmax(1) == targets[part]
        for part in (slice(start, start + 50) for start in range(0, count, 50))
    ]
    return torch.cat(right).double().mean().item()


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_a_model_is_right_on_unseen_images(model: str) -> None:
    assert accuracy(model, "shapes", 250) >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_its_twin_relies_on_the_mark(model: str) -> None:
    spec = with_option(model, "trained_on=shapes-shortcut")
    shown = accuracy(spec, "shapes-shortcut", 150)
    assert shown >= 0.95
    assert accuracy(spec, "shapes-shortcut:mark=moved", 150) <= shown - 0.4
    assert accuracy(spec, "shapes-shortcut:mark=removed", 150) <= shown - 0.4


@pytest.mark.parametrize("model", MODELS)
def test_a_model_comes_back_from_its_spec(model: str) -> None:
    for spec in (model, with_option(model, "trained_on=shapes-shortcut")):
        loaded = xai.load_model(spec)
        assert loaded.spec == spec
        again = xai.load_model(loaded.spec).model.state_dict()
        assert all(torch.equal(value, again[name]) for name, value in loaded.model.state_dict().items())
    assert xai.load_model(model).class_names == tuple(xai.load_dataset("shapes").class_names)  # type: ignore[attr-defined]
    without = with_option(model, "weights=none")
    assert xai.load_model(without).spec == without
    file = weights(model, "shapes")
    assert xai.load_model(model, weights=file).spec == with_option(model, f"weights={file}")
    with pytest.raises(OptionError, match="pass trained_on= or weights=, not both"):
        xai.load_model(model, trained_on="shapes-shortcut", weights=None)
    with pytest.raises(OptionError, match="trained_on must be one of shapes, shapes-shortcut, got 'photos'"):
        xai.load_model(model, trained_on="photos")
    with pytest.raises(UnknownModelError, match="one model"):
        xai.load_model(f"{model.partition(':')[0]}:large")


def test_a_pool_that_is_none() -> None:
    with pytest.raises(OptionError, match="pool must be one of max, class, got 'mean'"):
        xai.load_model("shapes-vit:pool=mean")
