"""The 3-D network that was trained on volumes of solids: its accuracy and its preprocessing."""

import pytest
import torch

import xai_core as xai
from xai_core.errors import InputShapeError, InputTypeError


@torch.no_grad()
def test_most_classes_of_unseen_volumes_are_right() -> None:
    loaded, data = xai.load_model("shapes3d-cnn"), xai.load_dataset("shapes3d:split=test,count=100")
    samples = [data[i] for i in range(100)]
    scores = loaded.model(torch.stack([loaded.preprocess(sample.image) for sample in samples]))
    assert (scores.argmax(1) == torch.tensor([sample.target for sample in samples])).double().mean() >= 0.85


def test_the_network_is_explained_and_scored() -> None:
    loaded, sample = xai.load_model("shapes3d-cnn"), xai.load_dataset("shapes3d:split=test")[1]
    assert loaded.spec == "shapes3d-cnn"
    assert loaded.class_names == ("ball", "cone", "cross", "cube", "cylinder")
    assert xai.load_model("shapes3d-cnn:weights=none").spec == "shapes3d-cnn:weights=none"
    engine, volumes = xai.Engine(loaded), loaded.preprocess(sample.image)[None]
    mask = xai.model_mask(loaded, sample)
    assert sample.mask is not None
    assert torch.equal(mask, sample.mask)
    maps = engine.explain(volumes, "grad-cam", [sample.target or 0])
    assert maps["grad-cam"].values.shape == (1, 24, 48, 48)
    assert maps["grad-cam"].raw.shape == (1, 6, 6, 6)
    scores = engine.evaluate(volumes, maps, "relevance-mass", mask[None])
    assert float(scores["grad-cam"]["relevance-mass"].values[0]) > mask.float().mean()


def test_volumes_are_resized_and_normalized() -> None:
    loaded = xai.load_model("shapes3d-cnn:weights=none")
    prepared = loaded.preprocess(torch.full((1, 12, 24, 24), 0.75))
    assert torch.equal(prepared, torch.ones(1, 24, 48, 48))
    assert loaded.restore is not None
    assert torch.equal(loaded.restore(prepared), torch.full((1, 24, 48, 48), 0.75))
    with pytest.raises(InputShapeError, match=r"expected a floating-point volume \[1,D,H,W\] in \[0,1\]"):
        loaded.preprocess(torch.rand(3, 48, 48))
    with pytest.raises(InputTypeError, match=r"expected a volume \[1,D,H,W\] as a tensor"):
        loaded.preprocess(xai.load_dataset("photos")[0].image)
