"""Recorded activations are what the layer returned, although the model writes over its tensors afterwards."""

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.explaining import captured_by
from support.models import SmallCNN, settled


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("layer", ["stem.0", "stem.1", "body", "last.1"])
def test_operations_in_place_do_not_change_a_recorded_activation(images: Tensor, layer: str, gradients: bool) -> None:
    model = settled(SmallCNN())
    outputs: list[Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(lambda _, args, output: outputs.append(output.clone()))
    model(images)
    handle.remove()
    captured = captured_by(model, images, xai.Needs(activations=(layer,), gradients=gradients))
    torch.testing.assert_close(captured.activation(), outputs[0].detach())


def test_the_model_does_write_over_these_activations(images: Tensor) -> None:
    model, outputs = settled(SmallCNN()), list[Tensor]()

    def keep(module: nn.Module, args: object, output: Tensor) -> None:
        outputs.extend([output, output.detach().clone()])

    model.get_submodule("stem.1").register_forward_hook(keep)
    with torch.no_grad():
        model(images)
    assert not torch.equal(outputs[0], outputs[1])
