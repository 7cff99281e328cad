"""NewPlugin passes the conformance checks of explainers, and computes its formula."""

import torch
from new_plugin import NewPlugin
from torch import nn

import xai_core as xai
from xai_core.testing import Check, check_explainer, parametrize_with_checks


@parametrize_with_checks(check_explainer(NewPlugin))
def test_conformance(check: Check) -> None:
    check()


def test_it_is_registered() -> None:
    assert isinstance(xai.create_explainer("new-plugin:layer=features"), NewPlugin)


def test_formula() -> None:
    """Compare with the formula in plain PyTorch, image by image."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 7 * 7, 5)).double().eval()
    images = torch.randn(2, 3, 16, 16, dtype=torch.double)
    [saliency] = xai.Engine(model).explain(images, NewPlugin(layer="1"), target=3).values()
    for image, relevance in zip(images, saliency.raw, strict=True):
        activation = model[:2](image[None]).detach().requires_grad_()
        [gradient] = torch.autograd.grad(model[2:](activation)[0, 3], activation)
        alpha = gradient[0].sum((1, 2)) / (7 * 7)
        expected = torch.einsum("k,kij->ij", alpha, activation[0]).clamp(min=0)
        torch.testing.assert_close(relevance, expected.to(relevance), atol=1e-6, rtol=1e-5)
