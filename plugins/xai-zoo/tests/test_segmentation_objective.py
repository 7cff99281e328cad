"""The training objective of segmentation models equals its formula, and checks its input."""

import numpy as np
import pytest
import torch
from torch import nn

import xai_core as xai
from xai_core.plugin import OptionError, TargetError
from xai_zoo.training.recipe import Recipe
from xai_zoo.training.segmentation_objective import OneRegion


class Scores(nn.Module):
    """Returns its images as scores."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images


def scores_and_targets() -> tuple[torch.Tensor, torch.Tensor]:
    scores = torch.randn(3, 4, 6, 5, generator=torch.Generator().manual_seed(0))
    targets = torch.full((3, 6, 5), -1, dtype=torch.int16)
    targets[0, 1:4, 1:3], targets[1, 2:6, 0:5], targets[2, 0:2, 0:2] = 0, 2, 1
    scores[1, 2, 2:6] += 9  # the second image is right
    return scores, targets


def test_the_loss_is_cross_entropy_and_dice_in_numpy() -> None:
    scores, targets = scores_and_targets()
    loss, count = OneRegion().measure(Scores(), scores, targets)
    exponentials = np.exp(scores.double().numpy())
    probabilities = exponentials / exponentials.sum(1, keepdims=True)
    entropies, coefficients, rights = [], [], 0
    for image, target in zip(probabilities, targets.numpy(), strict=True):
        label, mask = target.max(), target >= 0
        pixels = np.where(mask, label, 3)
        entropies += [-np.log(image[pixels[y, x], y, x]) for y in range(6) for x in range(5)]
        coefficients.append((2 * image[label][mask].sum() + 1) / (image[label].sum() + mask.sum() + 1))
        assigned = image.argmax(0) == label
        rights += (assigned & mask).sum() / (assigned | mask).sum() > 0.5
    assert float(loss) == pytest.approx(np.mean(entropies) + 1 - np.mean(coefficients), rel=1e-5)
    assert int(count) == rights > 0


def test_crops_flips_and_samples_without_a_mask_are_refused() -> None:
    OneRegion().check(Recipe(crop=1, flip=0))
    for recipe in (Recipe(crop=0.5, flip=0), Recipe(crop=1, flip=0.5)):
        with pytest.raises(OptionError, match="--crop 1 --flip 0"):
            OneRegion().check(recipe)
    loaded = xai.load_model("shapes-unet:weights=none")
    with pytest.raises(TargetError, match="has no mask"):
        OneRegion().target(loaded, xai.Sample(image=torch.rand(3, 64, 64), target=1, id="photo"))


def test_the_target_is_the_label_at_the_pixels_of_the_mask() -> None:
    loaded, sample = xai.load_model("shapes-unet:weights=none"), xai.load_dataset("shapes:split=test,count=1")[0]
    target = OneRegion().target(loaded, sample)
    assert torch.equal(target >= 0, xai.model_mask(loaded, sample))
    assert target.unique().tolist() == [-1, sample.target]
