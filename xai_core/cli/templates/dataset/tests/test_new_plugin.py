"""The data keeps what xai-core promises of data sets."""

import pytest
from new_plugin import NewPluginImages

import xai_core as xai
from xai_core.errors import OptionError, UnknownDatasetError
from xai_core.testing import Check, check_dataset, parametrize_with_checks


@parametrize_with_checks(check_dataset(NewPluginImages))
def test_it_keeps_its_promises(check: Check) -> None:
    check()


def test_it_is_found_by_its_name() -> None:
    assert len(xai.load_dataset("new-plugin:count=5")) == 5


@pytest.mark.parametrize("index", range(4))
def test_the_mask_is_where_the_disc_is(index: int) -> None:
    sample = xai.load_dataset("new-plugin:size=32")[index]
    disc = sample.image[:, sample.mask]
    assert disc.unique().numel() == 1
    assert (disc.mean() > 0.5) == (sample.target == 1)
    assert 0.05 < sample.mask.float().mean() < 0.15


def test_what_there_is_not_is_an_error() -> None:
    with pytest.raises(UnknownDatasetError, match="no data set 'squares'"):
        xai.load_dataset("new-plugin:squares")
    with pytest.raises(OptionError, match="at least 1"):
        xai.load_dataset("new-plugin:count=0")
