"""B-cos contributions against the linear map that a B-cos network is for one image."""

import pytest
import torch
from torch import Tensor

import xai_core as xai
from support.b_cos_models import BCosCNN, BCosConv, encoded
from support.models import SmallCNN, settled
from support.observing import everything
from support.volume_models import built
from xai_core.errors import UnsuitableError

CLASS = 2


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, 8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def raw(model: torch.nn.Module, images: Tensor, target: object = CLASS, block: int | None = None) -> Tensor:
    return xai.Engine(model, block=block).explain(images, "b-cos", target)["b-cos"].raw.double()


def replica(model: BCosCNN, image: Tensor) -> Tensor:
    """The score of each pixel alone, with the scaling that the whole image causes."""
    scales: list[Tensor] = []
    x = encoded(image[None])
    for module in (*model.body, model.head):
        linear, y = linear_part(module, x), module(x)
        scales.append(y / linear)
        x = y
    contributions = torch.zeros(image.shape[1:], dtype=torch.float64)
    for row in range(image.shape[1]):
        for column in range(image.shape[2]):
            x = torch.zeros_like(encoded(image[None]))
            x[..., row, column] = encoded(image[None])[..., row, column]
            for module, scale in zip((*model.body, model.head), scales, strict=True):
                x = linear_part(module, x) * scale
            contributions[row, column] = x.mean((2, 3))[0, CLASS]
    return contributions


def linear_part(module: BCosConv, x: Tensor) -> Tensor:
    weight = module.weight / module.weight.square().sum((1, 2, 3), keepdim=True).sqrt()
    return torch.nn.functional.conv2d(x, weight, stride=module.stride, padding=module.padding)


@torch.no_grad()
def test_equals_the_contributions_of_the_linear_map(images: Tensor) -> None:
    model = built(BCosCNN).double()
    expected = torch.stack([replica(model, image) for image in images])
    for block in (1, 8):
        torch.testing.assert_close(raw(model, images, block=block), expected, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(expected.sum((1, 2)), model(images)[:, CLASS], rtol=1e-5, atol=1e-7)


def test_the_model_may_append_the_inverse_colors_or_receive_them(images: Tensor) -> None:
    model = built(BCosCNN).double()
    inside = raw(model, images)
    model.encoded = True
    torch.testing.assert_close(raw(model, encoded(images)), inside)


def test_several_targets_are_explained_and_the_mode_of_the_model_does_not_change(images: Tensor) -> None:
    model = built(BCosCNN).double()
    before = everything(model)
    both = raw(model, images, [[0, CLASS], [1, CLASS]])
    assert everything(model) == before
    assert not any(module.detach for module in model.modules() if isinstance(module, BCosConv))
    torch.testing.assert_close(both[:, 1], raw(model, images))


def test_the_gradient_without_the_explanation_mode_is_another_map(images: Tensor) -> None:
    model = built(lambda: BCosCNN(encoded=True)).double()
    method = "input-x-gradient:channels=sum"
    other = xai.Engine(model).explain(encoded(images), method, CLASS)[method].raw.double()
    assert not torch.allclose(other, raw(model, encoded(images)), rtol=0.1)


def test_other_models_are_rejected() -> None:
    with pytest.raises(UnsuitableError, match=r"set_explanation_mode.*SmallCNN has none.*use input-x-gradient"):
        xai.Engine(settled(SmallCNN())).explain(torch.randn(1, 3, 32, 32), "b-cos")
