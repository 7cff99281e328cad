"""The adapter passes the conformance checks, and interprets the model correctly."""

import torch
from new_plugin import NewPluginAdapter, NewPluginModel

import xai_core as xai
from xai_core.testing import Check, check_adapter, check_model_source, parametrize_with_checks

MODEL = NewPluginModel().load(None).model


@parametrize_with_checks(check_adapter(NewPluginAdapter, MODEL), check_model_source(NewPluginModel))
def test_conformance(check: Check) -> None:
    check()


def test_the_engine_chooses_it() -> None:
    engine = xai.Engine(xai.load_model("new-plugin"))
    assert type(engine.adapter(torch.zeros(1, 3, 32, 32))) is NewPluginAdapter


def test_maps_are_at_the_position_in_the_image() -> None:
    """In a gray image with one bright patch, only the features of that patch differ."""
    images = torch.zeros(1, 3, 32, 64)
    images[:, :, 4:8, 48:52] = 1  # row 1, column 12 of the patches
    adapter = xai.Engine(MODEL).adapter(images)
    with torch.no_grad():
        tokens = MODEL.mixer(MODEL.patches(images).transpose(2, 3).flatten(2).transpose(1, 2))
    maps = adapter.spatial(tokens, adapter.default_layer)[0]
    difference = (maps - maps[:, :1, :1]).abs().sum(0)
    assert difference.nonzero().tolist() == [[1, 12]]
