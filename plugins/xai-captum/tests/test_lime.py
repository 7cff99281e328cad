"""LIME against a weighted ridge regression by scikit-learn, and against the weights of a linear model."""

import pytest
import torch
import torch.nn.functional as F
from skimage.segmentation import slic
from sklearn.linear_model import Ridge
from torch import Tensor, nn

import xai_core as xai
from support.models import Linear, Plain, settled
from xai_core.errors import OptionError

CLASS = 2


def superpixels(image: Tensor, segments: int) -> Tensor:
    rescaled = (image - image.min()) / (image.max() - image.min())
    return torch.from_numpy(slic(rescaled.permute(1, 2, 0).numpy(), segments, sigma=1, start_label=0))


def replica(model: nn.Module, image: Tensor, segments: int, samples: int, alpha: float) -> Tensor:
    """The weights of a linear model, fitted to the scores of sets of superpixels."""
    labels = superpixels(image, segments)
    count = int(labels.max()) + 1
    torch.manual_seed(3)
    sets = torch.cat([torch.bernoulli(torch.full((1, count), 0.5)) for _ in range(samples)])
    with torch.no_grad():
        scores = torch.cat([model((visible[labels] * image)[None])[:, CLASS] for visible in sets])
    cosine = sets.sum(1) / (sets.norm(dim=1) * count**0.5)
    weights = torch.exp(-((1 - cosine) ** 2) / (2 * 0.25**2))
    fit = Ridge(alpha=alpha).fit(sets.double(), scores.double(), sample_weight=weights.double())
    return torch.from_numpy(fit.coef_)[labels]


@pytest.mark.parametrize("block", [1, 7, 64])
def test_equals_a_weighted_ridge_regression(block: int) -> None:
    model, images = settled(Plain()), F.interpolate(torch.randn(2, 3, 4, 4), 32, mode="bicubic")
    explainer = xai.create_explainer("lime", n_samples=40, segments=9, seed=3, channels="sum")
    ours = xai.Engine(model, block=block).explain(images, explainer, CLASS)["lime"].raw
    expected = torch.stack([replica(model, image, 9, 40, 1.0) for image in images])
    torch.testing.assert_close(ours.double(), expected, rtol=1e-3, atol=1e-5)


def test_the_weights_of_a_linear_model_are_the_contributions_of_its_superpixels() -> None:
    """Without the penalty, the fit is exact."""
    model, images = Linear((32, 32)), F.interpolate(torch.randn(1, 3, 4, 4), 32, mode="bicubic")
    explainer = xai.create_explainer("lime", n_samples=60, segments=4, alpha=0, channels="sum")
    raw = xai.Engine(model).explain(images, explainer, CLASS)["lime"].raw[0]
    contributions = (images[0] * model.weight[CLASS].detach()).sum(0)
    labels = superpixels(images[0], 4)
    expected = torch.zeros(labels.max() + 1).index_add(0, labels.flatten(), contributions.flatten())
    torch.testing.assert_close(raw, expected[labels], rtol=1e-3, atol=1e-3)


def test_one_superpixel_is_rejected() -> None:
    with pytest.raises(OptionError, match="segments must be an integer of at least 2, got 1"):
        xai.create_explainer("lime:segments=1")
