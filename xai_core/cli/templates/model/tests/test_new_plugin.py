"""The source passes the conformance checks of model sources, and its models can be explained."""

import pytest
import torch
from new_plugin import NewPluginModels

import xai_core as xai
from xai_core.plugin import UnknownModelError
from xai_core.testing import Check, check_model_source, parametrize_with_checks


@parametrize_with_checks(check_model_source(NewPluginModels, "small"), check_model_source(NewPluginModels, "wide"))
def test_conformance(check: Check) -> None:
    check()


def test_it_is_registered() -> None:
    assert {"new-plugin:small", "new-plugin:wide"} <= set(xai.list_models())


def test_the_default_layer_is_the_last_with_spatial_features() -> None:
    loaded = xai.load_model("new-plugin:small")
    images = torch.stack([loaded.preprocess(torch.rand(3, 40, 60)) for _ in range(2)])
    engine = xai.Engine(loaded)
    assert engine.adapter(images).default_layer == "features"
    assert engine.adapter(images).grid == (8, 8)


def test_the_error_about_an_unknown_model_lists_the_models() -> None:
    with pytest.raises(UnknownModelError, match="expected a model among small, wide"):
        xai.load_model("new-plugin:huge")
