"""The classes in a segmentation, and the number that a target explains."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.models import SmallCNN, settled
from xai_core.errors import OptionError, TargetError
from xai_core.segments import Segment, largest


class Colors(nn.Module):
    """The scores of a pixel are its colors."""

    def forward(self, images: Tensor) -> Tensor:
        return images * 1.0


def engine(model: nn.Module, names: Sequence[str] | None = None) -> xai.Engine:
    return xai.Engine(xai.LoadedModel(model, lambda image: image, names))  # type: ignore[arg-type,return-value]


def test_classes_are_counted_in_the_output() -> None:
    images = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    images[1, 2] += 1
    for image, found in zip(images, engine(Colors(), ("red", "green", "blue")).segment(images), strict=True):
        counts = np.bincount(image.numpy().argmax(0).ravel(), minlength=3) / 64
        assert [segment.share for segment in found] == sorted(counts[counts > 0], reverse=True)
        assert all(counts[segment.label] == segment.share for segment in found)
        assert [segment.name for segment in found] == [("red", "green", "blue")[segment.label] for segment in found]


def test_a_single_class_has_the_pixels_above_one_half() -> None:
    images = torch.full((2, 1, 4, 4), -1.0)
    images[0, 0, 0] = 1
    assert engine(Colors()).segment(images) == [[Segment(0, "class 0", 0.25)], []]


def test_other_models_and_numbers_of_names_are_refused() -> None:
    with pytest.raises(TargetError, match="needs a segmentation model"):
        engine(settled(SmallCNN())).segment(torch.rand(1, 3, 32, 32))
    with pytest.raises(OptionError, match="3 classes, but 1 class names"):
        engine(Colors(), ("red",)).segment(torch.rand(1, 3, 8, 8))


def test_the_background_is_not_among_the_largest() -> None:
    names = ["__background__", "Background", "cat", "dog"]
    found = [Segment(i, name, 0.25) for i, name in enumerate(names)]
    assert [segment.name for segment in largest(found, 1, names)] == ["cat"]
    assert [segment.name for segment in largest(found, 9, names)] == ["cat", "dog"]
    with pytest.raises(TargetError, match="which class is the background"):
        largest(found, 1, None)


def test_the_score_of_a_target_is_read_from_the_output() -> None:
    model, images = settled(SmallCNN()), torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = model(images)
    scored = xai.Engine(model)
    torch.testing.assert_close(scored.score(images), logits.amax(1))
    torch.testing.assert_close(scored.score(images, [[0, 1], [1, 2]]), logits.gather(1, torch.tensor([[0, 1], [1, 2]])))
    torch.testing.assert_close(scored.score(images, xai.Contrast(0, 1)), logits[:, 0] - logits[:, 1])
    with pytest.raises(TargetError, match=r"the targets of images \[1\] are not classes"):
        scored.score(images, torch.tensor([0, 99]))
