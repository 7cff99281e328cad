"""The training objective of models for images and texts equals its formula, and checks its input."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch import Tensor

import xai_core as xai
from xai_core.plugin import OptionError, TargetError
from xai_zoo.small_clip import SmallCLIP
from xai_zoo.training.contrastive_objective import Contrastive
from xai_zoo.training.recipe import Recipe


class Vectors(SmallCLIP):
    """Images and texts are their own embeddings."""

    def __init__(self) -> None:
        super().__init__(size=8, dim=8, depth=1, words=3, length=2)

    def encode_image(self, images: Tensor) -> Tensor:
        return images

    def encode_text(self, ids: Tensor) -> Tensor:
        return ids.float()


@torch.no_grad()
def test_the_loss_is_clips_in_numpy() -> None:
    images = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    texts = torch.tensor([[1, 0, 2], [0, 3, 1], [1, 0, 2], [2, 2, 0], [0, 0, 4]])
    images[1] = texts[1]
    loss, right = Contrastive().measure(Vectors(), images, texts)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (images.double().numpy(), texts.double().numpy())]
    logits = unit[0] @ unit[1].T / 0.07
    same = np.eye(5)
    same[0, 2] = same[2, 0] = 1
    matches = same / same.sum(1, keepdims=True)
    expected = [-(matches * log_softmax(each, axis=1)).sum(1).mean() for each in (logits, logits.T)]
    assert float(loss) == pytest.approx(np.mean(expected), rel=1e-5)
    assert int(right) == sum(same[i, logits[i].argmax()] for i in range(5)) > 0


def test_crops_flips_and_samples_without_a_text_are_refused() -> None:
    Contrastive().check(Recipe(crop=1, flip=0))
    for recipe in (Recipe(crop=0.5, flip=0), Recipe(crop=1, flip=0.5)):
        with pytest.raises(OptionError, match="--crop 1 --flip 0"):
            Contrastive().check(recipe)
    loaded = xai.load_model("shapes-clip:weights=none")
    with pytest.raises(TargetError, match="has no text"):
        Contrastive().target(loaded, xai.load_dataset("shapes")[0])
    sample = xai.Sample(image=torch.rand(3, 64, 64), id="photo", text="a red star")
    assert Contrastive().target(loaded, sample).count_nonzero() == 3
