"""The direction of each metric, as its paper defines it."""

import pytest

import xai_core as xai

HIGHER = (
    "adcc", "aopc", "average-gain", "average-increase", "coherency", "energy-pointing-game", "faithfulness-correlation",
    "insertion", "iou", "irof", "pointing-game", "relevance-mass", "relevance-rank", "road", "sensitivity-n", "srg",
)  # fmt: skip
LOWER = (
    "average-drop", "complexity", "deletion", "infidelity", "matched-drop", "max-sensitivity",
    "parameter-randomization", "pixel-flipping",
)  # fmt: skip


@pytest.mark.parametrize("name", HIGHER)
def test_higher_is_better(name: str) -> None:
    assert xai.create_metric(name).higher_is_better is True


@pytest.mark.parametrize("name", LOWER)
def test_lower_is_better(name: str) -> None:
    assert xai.create_metric(name).higher_is_better is False
