"""The score of a region is the mean over its pixels, whatever its size, weighted where the mask holds weights."""

import torch
from torch import Tensor

import xai_core as xai


def scored(output: Tensor, region: xai.Region, kind: str = "logit", of: Tensor | None = None) -> Tensor:
    return region.bind(output, lambda output: output, len(output)).model_score(
        output if of is None else output[of], of, kind
    )


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


def test_perturbed_images_are_scored_over_the_region_of_their_image() -> None:
    output, mask, of = torch.randn(2, 3, 4, 6), torch.rand(2, 4, 6) > 0.5, torch.tensor([1, 0, 1])
    region = xai.Region([0, 2], mask)
    torch.testing.assert_close(scored(output, region, of=of), scored(output, region)[of])
