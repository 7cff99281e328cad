"""Methods that average over a set of baselines, against captum with the same set."""

import captum.attr
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.models import Linear, Plain, settled
from support.references import relative
from xai_core.errors import OptionError

CLASS = 2
pytestmark = pytest.mark.filterwarnings("ignore:\\s*Setting .* hooks:UserWarning")


@pytest.fixture
def others() -> Tensor:
    """Five other images."""
    return torch.randn(5, 3, 32, 32)


@pytest.fixture
def plain() -> nn.Module:
    return settled(Plain())


def explained(model: nn.Module, images: Tensor, name: str, block: int = 64, **options: object) -> Tensor:
    explainer = xai.create_explainer(name, channels="sum", **options)
    return xai.Engine(model, block=block).explain(images, explainer, CLASS)[name].raw


@pytest.mark.parametrize("block", [1, 64])
def test_deep_lift_shap_is_the_mean_over_the_set(plain: nn.Module, images: Tensor, others: Tensor, block: int) -> None:
    expected = captum.attr.DeepLiftShap(plain).attribute(images.clone().requires_grad_(), others, target=CLASS)
    ours = explained(plain, images, "deep-lift-shap", block, baselines=others)
    assert relative(ours, expected.detach().sum(1)) < 1e-4


def test_gradient_shap_draws_from_the_set(plain: nn.Module, images: Tensor, others: Tensor) -> None:
    torch.manual_seed(7)
    np.random.seed(7)
    method = captum.attr.GradientShap(plain)
    expected = method.attribute(images[:1], others, n_samples=6, stdevs=0.1, target=CLASS).detach().sum(1)
    ours = explained(plain, images[:1], "gradient-shap", n_samples=6, baselines=others, seed=7)
    assert relative(ours, expected) < 1e-3


def test_names_are_joined_by_plus_signs(images: Tensor) -> None:
    model = Linear((32, 32), classes=5)
    weight = model.weight[CLASS].detach()
    mean = images.mean((2, 3), keepdim=True)
    expected = ((images * weight) + (images - mean) * weight).sum(1) / 2
    ours = explained(model, images, "gradient-shap", stdevs=0, n_samples=400, baselines="zero+mean")
    # The share of paths that start at the mean is 1/2 with a standard deviation of 0.025, and 0.15 is six of them.
    assert ((ours - expected).abs() <= 0.15 * (mean * weight).sum(1).abs() + 1e-5).all()


def test_a_set_of_another_size_is_rejected(plain: nn.Module, images: Tensor) -> None:
    with pytest.raises(OptionError, match=r"of shape \[S, 3, 32, 32\], got \[4, 3, 8, 8\]"):
        explained(plain, images, "deep-lift-shap", baselines=torch.zeros(4, 3, 8, 8))
