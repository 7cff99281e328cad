"""EfficientNet-Lite0: its classes, its options and its weights."""

from pathlib import Path

import pytest
import torch

import xai_core as xai
from support.pictures import predict
from xai_core.errors import CheckpointError, OptionError, UnknownModelError

CATS = {"tabby", "tiger cat", "Egyptian cat"}


@pytest.mark.parametrize(("photo", "classes"), [("chelsea", CATS), ("coffee", {"espresso"}), ("rocket", {"missile"})])
def test_lite0_names_the_photographs(lite0: xai.LoadedModel, photo: str, classes: set[str]) -> None:
    [sample] = xai.load_dataset(f"photos:{photo}")
    assert lite0.class_names is not None
    assert lite0.class_names[int(predict(lite0, sample.image).argmax())] in classes


def test_lite0_is_ready_to_be_explained(lite0: xai.LoadedModel) -> None:
    assert not any(module.training for module in lite0.model.modules())
    assert lite0.spec == "efficientnet-lite0"
    assert len(set(lite0.class_names or ())) == 1000
    [sample] = xai.load_dataset("photos:chelsea")
    saliency = xai.Engine(lite0).explain(lite0.preprocess(sample.image)[None], "grad-cam")
    assert saliency["grad-cam"].values.shape == (1, 224, 224)


def test_lite0_takes_no_name_and_no_options() -> None:
    with pytest.raises(UnknownModelError, match="one model"):
        xai.load_model("efficientnet-lite0:large")
    with pytest.raises(OptionError, match="no options"):
        xai.load_model("efficientnet-lite0", weights=None)


def test_lite0_refuses_weights_of_another_build(
    lite0: xai.LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.pth"
    torch.save(dict(reversed(lite0.model.state_dict().items())), other)
    monkeypatch.setattr("xai_zoo.efficientnet_lite0.installed_file", lambda *_: other)
    with pytest.raises(CheckpointError, match=r"0\.1\.0"):
        xai.load_model("efficientnet-lite0")
