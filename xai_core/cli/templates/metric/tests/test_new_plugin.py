"""NewPlugin passes the conformance checks of metrics, and computes its formula."""

import pytest
import torch
from new_plugin import NewPlugin
from torch import nn

import xai_core as xai
from xai_core.testing import Check, check_metric, parametrize_with_checks


@parametrize_with_checks(check_metric(NewPlugin))
def test_conformance(check: Check) -> None:
    check()


def test_it_is_registered() -> None:
    assert isinstance(xai.create_metric("new-plugin:fraction=0.5"), NewPlugin)


def test_an_invalid_fraction_raises_an_error() -> None:
    with pytest.raises(xai.XAIError, match="fraction must be a number in"):
        NewPlugin(fraction=1)


def test_formula() -> None:
    """Compare with the formula for one image, pixel by pixel."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 7 * 7, 5)).double().eval()
    image = torch.randn(1, 3, 16, 16, dtype=torch.double)
    saliency = torch.rand(1, 16, 16)
    metric = NewPlugin(fraction=0.1, baseline="zero")
    [result] = xai.Engine(model).evaluate(image, {"noise": saliency}, metric)["noise"].values()
    changed = image.clone()
    for pixel in saliency.flatten().argsort(descending=True)[:26].tolist():  # a tenth of 256
        changed[0, :, pixel // 16, pixel % 16] = 0
    with torch.no_grad():
        scores = model(image)[0]
        expected = (scores - model(changed)[0])[scores.argmax()]
    torch.testing.assert_close(result.values[0], expected.to(result.values), atol=1e-6, rtol=1e-5)
