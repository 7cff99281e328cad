"""Maps that an engine computes again for a changed copy of the model: its settings and its layers are the same."""

import copy

import torch
from torch import Tensor, nn

import xai_core as xai
from support.models import SmallCNN, fused_vit, settled


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


def test_a_changed_copy_is_explained_at_the_same_layer_without_another_probe(images: Tensor) -> None:
    model = fused_vit()
    engine = xai.Engine(model)
    saliency = engine.explain(images, "grad-cam", 1)["grad-cam"]
    changed = copy.deepcopy(model)
    changed.head.weight.data.zero_()  # a probe of this copy would find other layers
    changed.head.bias.data.normal_()
    seen: list[int] = []
    with changed.register_forward_pre_hook(lambda _, args: seen.append(len(args[0]))):
        raw = saliency.explain(images, changed).raw
    assert seen == [len(images)]
    assert not raw.any()
    assert raw.shape[1:] == engine.adapter(images).grid


def test_a_model_with_other_modules_is_probed(images: Tensor) -> None:
    saliency = xai.Engine(fused_vit()).explain(images, "grad-cam", 1)["grad-cam"]
    other = settled(SmallCNN())
    expected = xai.Engine(other).explain(images, "grad-cam", 1)["grad-cam"]
    torch.testing.assert_close(saliency.explain(images, other).raw, expected.raw)
