"""The photographs that come with scikit-image."""

import numpy as np
import pytest
from PIL import Image

import xai_core as xai
from xai_core.errors import FileError, UnknownDatasetError


def test_photos_are_color_photographs_in_a_fixed_order() -> None:
    samples = list(xai.load_dataset("photos"))
    assert [sample.id for sample in samples][:4] == ["chelsea", "coffee", "rocket", "astronaut"]
    for sample in samples:
        assert isinstance(sample.image, Image.Image)
        assert sample.image.mode == "RGB"
        assert np.asarray(sample.image).std(2).mean() > 1, "not a color photograph"
        assert sample.target is None


def test_an_unknown_photograph_is_refused_with_close_names() -> None:
    with pytest.raises(UnknownDatasetError, match="chelsea"):
        xai.load_dataset("photos:chelsey")


def test_a_missing_distribution_is_named() -> None:
    from xai_zoo.installed import installed_file

    with pytest.raises(FileError, match="pip install no-such-thing"):
        installed_file("no-such-thing", "file")
    with pytest.raises(FileError, match=r"scikit-image .* contains no skimage/data/no.png; reinstall it"):
        installed_file("scikit-image", "skimage/data/no.png")
