"""Gradients through batch norm are right for a batch of one, whose strides mislead PyTorch on the CPU."""

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai


class TokensOfNorm(nn.Module):
    """A convolution and batch norm, whose output becomes tokens with layer norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6)
        self.mix, self.head = nn.Linear(6, 6), nn.Linear(6, 4)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.norm(self.conv(images).contiguous()).flatten(2).mT
        normalized = nn.functional.layer_norm(tokens, (6,))
        return self.head(self.mix(normalized).tanh().mean(1))


@pytest.fixture
def model() -> TokensOfNorm:
    torch.manual_seed(0)
    model = TokensOfNorm().eval()
    nn.init.uniform_(model.norm.weight, 0.5, 2)
    nn.init.uniform_(model.norm.running_var, 0.5, 2)
    return model


def test_gradients_of_one_image_are_those_in_a_batch(model: TokensOfNorm) -> None:
    image = torch.randn(1, 3, 16, 12)
    pair = image.repeat(2, 1, 1, 1).double().requires_grad_()
    (expected,) = torch.autograd.grad(model.double()(pair)[:, 1].sum(), pair)
    raw = xai.Engine(model.float()).explain(image, "saliency:channels=sum", 1)["saliency:channels=sum"].raw
    torch.testing.assert_close(raw, expected[:1].sum(1).float(), rtol=1e-3, atol=1e-5)


def test_gradients_of_a_layer_before_the_norm(model: TokensOfNorm) -> None:
    image = torch.randn(1, 3, 16, 12)
    features = model.double().conv(image.repeat(2, 1, 1, 1).double()).detach().requires_grad_()
    model.conv.forward = lambda images: features
    (expected,) = torch.autograd.grad(model(torch.zeros(2, 3, 16, 12).double())[:, 1].sum(), features)
    del model.conv.forward
    raw = xai.Engine(model.float()).explain(image, "hires-cam:layer=conv", 1)["hires-cam:layer=conv"].raw
    torch.testing.assert_close(raw, (expected * features)[:1].sum(1).relu().detach().float(), rtol=1e-3, atol=1e-5)
