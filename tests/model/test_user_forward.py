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


class WritesToImages(nn.Module):
    """Subtracts a number from its input in place."""

    def __init__(self, copies: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.copies = copies
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(8, 5)

    def forward(self, images: Any) -> Any:
        images = images.clone() if self.copies else images
        return self.head(self.features(images.sub_(0.3)).mean((2, 3)))


@pytest.mark.parametrize("methods", ["grad-cam", "score-cam", "saliency", "rise:masks=10"])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_model_that_writes_to_its_images_is_explained_as_one_that_copies_them(
    methods: str, memory_format: torch.memory_format
) -> None:
    images = torch.randn(3, 3, 32, 32).contiguous(memory_format=memory_format)
    before = images.clone()
    metrics = ["deletion:steps=3", "insertion:steps=3"]
    engine, expected = (xai.Engine(WritesToImages(copies).eval()) for copies in (False, True))
    maps, other = (each.explain(images, methods, 1)[methods] for each in (engine, expected))
    assert torch.equal(maps.raw, other.raw)
    scores, others = (each.evaluate(images, maps, metrics) for each in (engine, expected))
    assert all(torch.equal(scores[name].values, others[name].values) for name in metrics)
    assert torch.equal(images, before)


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
