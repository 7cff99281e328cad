"""What an engine was given reaches the maps that it makes again, of a changed copy of the model too."""

import copy

import torch
from torch import Tensor, nn

import xai_core as xai
from support.models import SmallCNN, settled


class Scaled(SmallCNN):
    """A model of two inputs."""

    def forward(self, images: Tensor, scale: float) -> Tensor:  # type: ignore[override]
        return super().forward(images) * scale


def test_maps_of_a_changed_copy_are_made_by_the_function_that_calls_the_model(images: Tensor) -> None:
    calls: list[nn.Module] = []

    def forward(model: nn.Module, images: Tensor) -> Tensor:
        calls.append(model)
        return model(images, 0.5)

    model = settled(Scaled())
    saliency = xai.Engine(model, forward=forward).explain(images, "grad-cam", 1)["grad-cam"]
    changed = copy.deepcopy(model)
    nn.init.normal_(changed.last[0].weight)
    expected = xai.Engine(changed, forward=forward).explain(images, "grad-cam", 1)["grad-cam"]
    calls.clear()
    torch.testing.assert_close(saliency.explain(images, changed).raw, expected.raw)
    assert calls
    assert all(called is changed for called in calls)
