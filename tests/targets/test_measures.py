"""The numbers that targets explain, computed by hand, and for perturbed images of a batch."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import xai_core as xai
from xai_core.targets.score_reader import ScoreReader
from xai_core.targets.target import Target


def scored(output: Tensor, target: Target, kind: str = "logit", of: Tensor | None = None) -> Tensor:
    bound = target.bind(output, ScoreReader(lambda output: output), len(output))
    return bound.model_score(output if of is None else output[of], of, kind)


def test_the_score_of_a_region_is_the_mean_over_its_pixels() -> None:
    output, mask = torch.randn(2, 3, 4, 6), torch.rand(2, 4, 6) > 0.5
    expected = [logits[mask_of_image].mean() for logits, mask_of_image in zip(output[:, 1], mask, strict=True)]
    torch.testing.assert_close(scored(output, xai.Region(1, mask)), torch.stack(expected))
    probabilities = [p[mask_of_image].mean() for p, mask_of_image in zip(output.softmax(1)[:, 1], mask, strict=True)]
    torch.testing.assert_close(scored(output, xai.Region(1, mask), "probability"), torch.stack(probabilities))


def test_weights_of_a_region_give_the_weighted_mean() -> None:
    output, weights = torch.randn(2, 3, 4, 6), torch.rand(4, 6)
    expected = (output[:, 2] * weights).sum((1, 2)) / weights.sum()
    torch.testing.assert_close(scored(output, xai.Region(2, weights)), expected)


def test_without_a_mask_the_region_is_where_the_class_is_predicted() -> None:
    output = torch.randn(2, 3, 4, 6)
    predicted = output.argmax(1) == 0
    expected = [logits[pixels].mean() for logits, pixels in zip(output[:, 0], predicted, strict=True)]
    torch.testing.assert_close(scored(output, xai.Region(0)), torch.stack(expected))


@pytest.mark.parametrize("side", [256, 300])
def test_a_region_in_half_precision_may_have_more_pixels_than_its_largest_number(side: int) -> None:
    """A sum of 65,536 ones is infinite in float16, and all weights would be zero."""
    output = torch.randn(1, 2, side, side).half()
    expected = output[0, 1].double().mean()
    for mask in (torch.ones(side, side, dtype=torch.bool), torch.full((side, side), 1e5)):
        score = scored(output, xai.Region(1, mask))
        torch.testing.assert_close(score[0].double(), expected, rtol=0, atol=1e-5)


def test_a_similarity_is_the_cosine_with_the_vector_of_the_image() -> None:
    output, vectors = torch.randn(2, 5), torch.randn(2, 5)
    expected = F.cosine_similarity(output, vectors, dim=1)
    for kind in ("logit", "probability"):
        torch.testing.assert_close(scored(output, xai.Similarity(vectors), kind), expected)
    expected = F.cosine_similarity(output, vectors[:1], dim=1)
    torch.testing.assert_close(scored(output, xai.Similarity(vectors[0])), expected)


def test_a_contrast_is_the_difference_of_two_logits() -> None:
    output = torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, -1.0]])
    torch.testing.assert_close(scored(output, xai.Contrast()), torch.tensor([1.0, 5.0]))
    torch.testing.assert_close(scored(output, xai.Contrast(1, 2)), torch.tensor([-1.0, 6.0]))
    torch.testing.assert_close(scored(output, xai.Contrast(1, 2), "probability"), torch.tensor([-1.0, 6.0]).sigmoid())


@pytest.mark.parametrize(
    ("target", "shape"),
    [
        (xai.Contrast(torch.tensor([0, 1]), torch.tensor([2, 0])), (3,)),
        (xai.Similarity(torch.eye(3)[1:]), (3,)),
        (xai.Region([0, 2], torch.arange(48).view(2, 4, 6)), (3, 4, 6)),
    ],
    ids=["contrast", "similarity", "region"],
)
@pytest.mark.parametrize("kind", ["logit", "probability"])
def test_perturbed_images_are_scored_as_their_image_is(target: Target, shape: tuple[int, ...], kind: str) -> None:
    output, of = torch.randn(2, *shape), torch.tensor([1, 0, 1])
    torch.testing.assert_close(scored(output, target, kind, of), scored(output, target, kind)[of])
