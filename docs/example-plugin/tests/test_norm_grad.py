"""NormGrad keeps what xai-core promises of explainers, and is its formula."""

import torch
from torch import nn
from xai_example import NormGrad

import xai_core as xai
from xai_core.testing import Check, check_explainer, parametrize_with_checks


@parametrize_with_checks(check_explainer(NormGrad))
def test_it_keeps_its_promises(check: Check) -> None:
    check()


def test_it_is_found_by_its_name() -> None:
    assert isinstance(xai.create_explainer("norm-grad:layer=layer3"), NormGrad)


def test_it_is_each_places_part_of_the_gradient_of_a_convolution_put_after_the_layer() -> None:
    """As the paper derives it: an identity 1x1 convolution, whose weights have a gradient, place by place."""
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
            put = activation.clone()
            put[:, i, j] = weight @ activation[:, i, j]
            [gradient] = torch.autograd.grad(head(put[None])[0, 3], weight)
            torch.testing.assert_close(saliency.raw[0, i, j], gradient.norm().to(saliency.raw), atol=1e-6, rtol=1e-5)
