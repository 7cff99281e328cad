"""NormGrad passes the conformance checks of explainers, and computes its formula."""

import torch
from torch import nn
from xai_example import NormGrad

import xai_core as xai
from xai_core.testing import Check, check_explainer, parametrize_with_checks


@parametrize_with_checks(check_explainer(NormGrad))
def test_conformance(check: Check) -> None:
    check()


def test_it_is_registered() -> None:
    assert isinstance(xai.create_explainer("norm-grad:layer=layer3"), NormGrad)


def test_formula() -> None:
    """Compare with the derivation of the paper: the gradient of an identity 1x1 convolution at each location."""
    torch.manual_seed(0)
    features = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.Tanh())
    head = nn.Sequential(nn.Conv2d(4, 6, 3), nn.Tanh(), nn.Flatten(), nn.Linear(6 * 5 * 5, 5))
    model = nn.Sequential(features, head).double().eval()
    image = torch.randn(1, 3, 16, 16, dtype=torch.double)
    [saliency] = xai.Engine(model).explain(image, NormGrad(layer="0"), target=3).values()
    activation = features(image).detach()[0]  # [4,7,7]
    for i in range(7):
        for j in range(7):
            weight = torch.eye(4, dtype=torch.double, requires_grad=True)
            changed = activation.clone()
            changed[:, i, j] = weight @ activation[:, i, j]
            [gradient] = torch.autograd.grad(head(changed[None])[0, 3], weight)
            torch.testing.assert_close(saliency.raw[0, i, j], gradient.norm().to(saliency.raw), atol=1e-6, rtol=1e-5)
