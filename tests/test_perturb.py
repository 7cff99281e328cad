"""Scorers of several targets share what they learn of the device's memory, and score in float32 or better."""

import warnings

import pytest
import torch
from torch import Tensor

from xai_core.errors import OutOfMemoryWarning
from xai_core.model_scorer import ModelScorer
from xai_core.targets.binding import targets_of
from xai_core.targets.score_reader import ScoreReader
from xai_core.targets.target import BoundTarget


def test_a_block_that_was_halved_for_one_target_stays_so_for_the_others() -> None:
    sizes: list[int] = []

    def run(images: Tensor, of: Tensor) -> Tensor:
        sizes.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError
        return images

    targets = [BoundTarget(lambda output, of, kind, i=i: output[:, i], 2) for i in range(3)]
    scorer, images = ModelScorer(run, targets, 8), torch.randn(6, 3)
    first, second = scorer.of_target(1), scorer.of_target(2)
    with pytest.warns(OutOfMemoryWarning, match=r"out of memory: [123] instead of \d"):
        assert torch.equal(first(images), images[:, 1])
    assert scorer.block == first.block == second.block <= 2
    sizes.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(second(images), images[:, 2])
    assert max(sizes) <= 2


@pytest.mark.parametrize("kind", ["logit", "probability"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_scores_are_float32_or_better(dtype: torch.dtype, kind: str) -> None:
    logits = torch.randn(4, 3, dtype=torch.float64).to(dtype)
    [target], _ = targets_of([0, 2], logits[:2], ScoreReader(lambda output: output), 2)
    scorer = ModelScorer(lambda images, of: logits, [target], 4)
    expected = torch.promote_types(dtype, torch.float32)
    assert scorer(torch.zeros(4, 1), kind=kind).dtype == expected
    assert scorer.each(torch.zeros(4, 1), kind=kind).dtype == expected
