"""The source keeps what xai-core promises of model sources, and its models can be explained."""

import pytest
import torch
from new_plugin import NewPluginModels

import xai_core as xai
from xai_core.errors import UnknownModelError
from xai_core.testing import Check, check_model_source, parametrize_with_checks


@parametrize_with_checks(check_model_source(NewPluginModels, "small"), check_model_source(NewPluginModels, "wide"))
def test_it_keeps_its_promises(check: Check) -> None:
    check()


def test_it_is_found_by_its_name() -> None:
    assert {"new-plugin:small", "new-plugin:wide"} <= set(xai.list_models())


def test_the_last_features_are_found() -> None:
    loaded = xai.load_model("new-plugin:small")
    images = torch.stack([loaded.preprocess(torch.rand(3, 40, 60)) for _ in range(2)])
    engine = xai.Engine(loaded)
    assert engine.adapter(images).default_layer == "features"
    assert engine.adapter(images).grid == (8, 8)


def test_a_model_that_there_is_not_is_an_error_that_says_what_there_is() -> None:
    with pytest.raises(UnknownModelError, match="there are small, wide"):
        xai.load_model("new-plugin:huge")
