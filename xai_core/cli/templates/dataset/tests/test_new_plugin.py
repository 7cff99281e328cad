"""The dataset passes the conformance checks, and its masks are correct."""

import pytest
from new_plugin import NewPluginImages

import xai_core as xai
from xai_core.plugin import OptionError, UnknownDatasetError
from xai_core.testing import Check, check_dataset, parametrize_with_checks


@parametrize_with_checks(check_dataset(NewPluginImages))
def test_conformance(check: Check) -> None:
    check()


def test_it_is_registered() -> None:
    assert len(xai.load_dataset("new-plugin:count=5")) == 5


@pytest.mark.parametrize("index", range(4))
def test_the_mask_covers_the_disc(index: int) -> None:
    sample = xai.load_dataset("new-plugin:size=32")[index]
    disc = sample.image[:, sample.mask]
    assert disc.unique().numel() == 1
    assert (disc.mean() > 0.5) == (sample.target == 1)
    assert 0.05 < sample.mask.float().mean() < 0.15


def test_invalid_specs_raise_errors() -> None:
    with pytest.raises(UnknownDatasetError, match="got `new-plugin:squares`"):
        xai.load_dataset("new-plugin:squares")
    with pytest.raises(OptionError, match="count must be an integer of at least 1"):
        xai.load_dataset("new-plugin:count=0")
