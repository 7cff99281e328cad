"""Two objects with a sentence: the mask covers the object that the sentence is about."""

from typing import Any

import pytest
import torch
from torch import Tensor

import xai_core as xai
from xai_core.errors import OptionError
from xai_zoo.shapes_text import COLORS, WORDS, ShapesTextDataset


def dataset(**options: Any) -> ShapesTextDataset:
    data = xai.load_dataset("shapes-text", **options)
    assert isinstance(data, ShapesTextDataset)
    return data


def image(sample: xai.Sample) -> Tensor:
    assert isinstance(sample.image, Tensor)
    return sample.image


def masks(sample: xai.Sample) -> tuple[Tensor, Tensor]:
    assert sample.mask is not None
    assert sample.distractors is not None
    return sample.mask, sample.distractors[0]


def test_the_mask_has_the_color_of_the_sentence() -> None:
    data = dataset(count=40)
    for sample in (data[i] for i in range(40)):
        assert sample.text is not None
        color = torch.tensor(COLORS[sample.text.split()[1]]) / 255
        pixels = image(sample)[:, masks(sample)[0]].median(1).values
        assert (pixels - color).abs().max() <= 16 / 255
        assert not (masks(sample)[0] & masks(sample)[1]).any()
        assert {*sample.text.split()} <= {*WORDS}


def test_sentences_and_labels() -> None:
    both, phrases, relations = (dataset(sentences=name) for name in ("both", "phrase", "relation"))
    for i in range(20):
        assert (phrases if i % 2 == 0 else relations)[i].text == both[i].text
        assert both.class_names[phrases[i].target or 0] == phrases[i].text == both.phrases(i)[0]
        assert both.phrases(i)[1].split()[2] == str(relations[i].text).split()[-1]
        assert torch.equal(image(both[i]), image(phrases[i]))
    assert both[0].text == "a yellow square"
    assert both[1].text == "the yellow star below the cross"
    assert repr(both[0]).endswith("text='a yellow square')")


def test_a_relation_is_that_of_the_centers() -> None:
    data = dataset(count=60, sentences="relation")
    found = set()
    for sample in (data[i] for i in range(60)):
        named, other = (mask.nonzero().double().mean(0) for mask in masks(sample))
        down, right = (named - other).tolist()
        if abs(abs(down) - abs(right)) < 8:
            continue  # the centroid of an outline is not its center
        side = ("above", "below")[down > 0] if abs(down) > abs(right) else ("left of", "right of")[right > 0]
        found.add(side)
        assert f" {side} the " in str(sample.text)
    assert len(found) == 4


def test_the_other_object_can_be_left_out() -> None:
    both, named, other = (dataset(shown=name)[3] for name in ("both", "named", "other"))
    object_, distractor = masks(both)
    assert named.mask is not None
    assert torch.equal(named.mask, object_)
    assert named.distractors is None
    assert other.distractors is not None
    assert torch.equal(other.distractors[0], distractor)
    assert (other.mask, other.boxes) == (None, None)
    assert torch.equal(image(both)[:, object_], image(named)[:, object_])
    assert torch.equal(image(both)[:, distractor], image(other)[:, distractor])
    assert not torch.equal(image(both)[:, distractor], image(named)[:, distractor])
    assert named.text == other.text == both.text


@pytest.mark.parametrize(
    ("option", "choices"), [("sentences", "both, phrase, relation"), ("shown", "both, named, other")]
)
def test_unknown_choices(option: str, choices: str) -> None:
    with pytest.raises(OptionError, match=f"{option} must be one of {choices}, got 'three'"):
        xai.load_dataset(f"shapes-text:{option}=three")
