"""Models that the app does not explain."""

import pytest

import xai_core as xai
from xai_core.errors import UnsuitableError
from xai_core.web_app.chosen_model import ChosenModel


@pytest.mark.parametrize("model", ["shapes-unet", "shapes-clip"])
def test_models_for_segmentation_and_texts_are_rejected(model: str) -> None:
    with pytest.raises(UnsuitableError, match="the app explains classifiers and detectors"):
        ChosenModel.of(xai.Engine(xai.load_model(model)))
