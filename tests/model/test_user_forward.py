"""Functions that call the model: which of them receive the index of each image, and which are rejected."""

import functools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from xai_core.errors import InputTypeError
from xai_core.model.user_forward import accept_forward

IMAGES, OF = torch.zeros(2, 3, 4, 4), torch.tensor([1, 0])
MODEL = nn.Identity()


class Caller:
    def two(self, model: Any, images: Any) -> tuple[Any, ...]:
        return model, images

    def three(self, model: Any, images: Any, of: Any) -> tuple[Any, ...]:
        return model, images, of

    def __call__(self, *args: Any) -> tuple[Any, ...]:
        return args


def optional(model: Any, images: Any, of: Any = None) -> tuple[Any, ...]:
    return model, images, of


@pytest.mark.parametrize(
    "forward",
    [
        lambda model, images, of: (model, images, of),
        lambda model, images, index, scale=2.0: (model, images, index),
        Caller().three,
        optional,
        functools.partial(lambda text, model, images, of: (model, images, of), "a question"),
        functools.partial(lambda model, images, of, text: (model, images, of), text="a question"),
    ],
)
def test_a_third_parameter_receives_the_indices(forward: Any) -> None:
    received = accept_forward(forward)(MODEL, IMAGES, OF)
    assert [id(each) for each in received] == [id(MODEL), id(IMAGES), id(OF)]


@pytest.mark.parametrize(
    "forward",
    [
        lambda model, images: (model, images),
        lambda model, images, scale=2.0: (model, images),
        lambda model, images, **options: (model, images),
        lambda *args: args,
        lambda model, *rest: (model, *rest),
        Caller().two,
        Caller(),
        functools.partial(lambda model, images, text: (model, images), text="a question"),
    ],
)
def test_two_arguments_defaults_and_star_arguments_do_not(forward: Any) -> None:
    received = accept_forward(forward)(MODEL, IMAGES, OF)
    assert [id(each) for each in received] == [id(MODEL), id(IMAGES)]


@pytest.mark.parametrize(
    "forward",
    [3, lambda images: images, lambda: None, lambda a, b, c, d: a, lambda model, images, *, of: images],
)
def test_other_functions_are_rejected(forward: Any) -> None:
    with pytest.raises(InputTypeError, match=r"\(model, images\)` or `\(model, images, of\)`; got"):
        xai.Engine(MODEL, forward=forward)


def test_indices_are_int64_on_the_device_of_the_images() -> None:
    received: list[Tensor] = []

    def forward(model: nn.Module, images: Tensor, of: Tensor) -> Tensor:
        received.append(of)
        return model(images)

    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    xai.Engine(model, forward=forward).explain(torch.randn(2, 3, 8, 8), "grad-cam")
    assert [of.tolist() for of in received] == [
        [0],
        [0],
        [0, 1],
    ]  # the probe with and without hooks, and the shared pass
    assert all(of.dtype == torch.int64 and of.device == IMAGES.device for of in received)
