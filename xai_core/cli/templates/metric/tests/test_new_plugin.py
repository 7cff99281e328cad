"""NewPlugin keeps what xai-core promises of metrics, and is its formula."""

import pytest
import torch
from new_plugin import NewPlugin
from torch import nn

import xai_core as xai
from xai_core.testing import Check, check_metric, parametrize_with_checks


@parametrize_with_checks(check_metric(NewPlugin))
def test_it_keeps_its_promises(check: Check) -> None:
    check()


def test_it_is_found_by_its_name() -> None:
    assert isinstance(xai.create_metric("new-plugin:share=0.5"), NewPlugin)


def test_a_share_is_of_the_pixels() -> None:
    with pytest.raises(xai.XAIError, match="must be in"):
        NewPlugin(share=1)


def test_it_is_its_formula() -> None:
    """The same for one image, pixel by pixel."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 7 * 7, 5)).double().eval()
    image = torch.randn(1, 3, 16, 16, dtype=torch.double)
    engine = xai.Engine(model)
    maps = engine.explain(image, "edges", target=3)
    [[score]] = [one.values() for one in engine.evaluate(image, maps, NewPlugin(share=0.1, baseline="zero")).values()]
    changed = image.clone()
    values = [(-value, place) for place, value in enumerate(maps["edges"].values.flatten().tolist())]
    for _, place in sorted(values)[:26]:  # a tenth of 256
        changed[0, :, place // 16, place % 16] = 0
    with torch.no_grad():
        expected = (model(image) - model(changed))[0, 3]
    torch.testing.assert_close(score.values[0], expected.to(score.values), atol=1e-6, rtol=1e-5)
