"""IROF against a loop over scikit-image's superpixels in float64, and against what it must give."""

from operator import itemgetter

import numpy as np
import pytest
import skimage.segmentation
import torch
from torch import Tensor, nn

import xai_core as xai
from support.explaining import maps_for
from support.models import Constant, Linear, SmallCNN, settled
from xai_core.errors import NonFiniteInputError, OptionError


@pytest.fixture
def cnn() -> nn.Module:
    model = settled(SmallCNN())
    model.head.weight.data *= 4  # confident, so that the curves move
    return model


@pytest.fixture
def pictures() -> Tensor:
    """Blots of several sizes, so that each image has another number of superpixels."""
    noise = [torch.randn(1, 3, side, side) for side in (3, 5, 9, 32)]
    return torch.cat([nn.functional.interpolate(one, (32, 32), mode="bicubic") for one in noise])


def superpixels(image: Tensor, segments: int) -> np.ndarray:
    return skimage.segmentation.slic(image.permute(1, 2, 0).numpy(), n_segments=segments, start_label=1)


@torch.no_grad()
def irof_loop(model: nn.Module, image: Tensor, saliency: Tensor, segments: int) -> float:
    """The area over the curve of one image, segment by segment, in float64."""
    labels = superpixels(image.float(), segments)
    numbers = sorted(np.unique(labels), key=lambda number: -saliency.double().numpy()[labels == number].mean())
    color, target = image.mean((1, 2)), model(image[None]).argmax().item()
    image = image.clone()
    scores = [model(image[None]).softmax(1)[0, target].item()]
    for number in numbers:
        image[:, torch.from_numpy(labels == number)] = color[:, None]
        scores.append(model(image[None]).softmax(1)[0, target].item())
    return float(1 - np.trapezoid(np.array(scores) / scores[0], dx=1 / len(numbers)))


@pytest.mark.parametrize("segments", [9, 40])
def test_equals_the_loop_over_superpixels(cnn: nn.Module, pictures: Tensor, segments: int) -> None:
    assert len({superpixels(image, segments).max() for image in pictures}) > 1
    saliency = torch.rand(4, 32, 32)
    metric = xai.create_metric("irof", segments=segments)
    values = xai.Engine(cnn).evaluate(pictures, {"m": saliency}, metric)["m"]["irof"].values
    reference = cnn.double()
    for i, image in enumerate(pictures.double()):
        assert values[i].item() == pytest.approx(irof_loop(reference, image, saliency[i], segments), abs=1e-5)


def test_the_best_and_the_worst_order_on_a_linear_model(pictures: Tensor) -> None:
    model = Linear((32, 32))
    model.weight.data *= 0.02
    model.weight.data[1:] = 0
    images = pictures - pictures.mean((2, 3), keepdim=True)
    contribution = (images * model.weight[0]).sum(1).detach()
    by_segment = contribution.clone()
    for i, image in enumerate(images):
        labels = torch.from_numpy(superpixels(image, 100))
        for number in labels.unique():
            by_segment[i][labels == number] = contribution[i][labels == number].sum()
    engine = xai.Engine(model)
    maps = maps_for(0, engine, images, best=by_segment, random=torch.rand(4, 32, 32), worst=-by_segment)
    scores = engine.evaluate(images, maps, "irof")
    best, random, worst = (scores[key]["irof"].values for key in maps)
    assert (best > random).all()
    assert (random > worst).all()


def test_superpixels_are_made_once_for_all_maps(
    cnn: nn.Module, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, slic = [], skimage.segmentation.slic
    monkeypatch.setattr(skimage.segmentation, "slic", lambda *args, **options: made.append(1) or slic(*args, **options))
    xai.Engine(cnn).evaluate(images, {name: torch.rand(3, 32, 32) for name in "abc"}, ["irof", "irof:ties=random"])
    assert len(made) == 3


def test_an_image_of_one_color_and_one_with_nothing_to_lose(cnn: nn.Module) -> None:
    images = torch.stack([torch.full((3, 32, 32), 0.3), torch.randn(3, 32, 32)])
    values = xai.Engine(cnn).evaluate(images, {"m": torch.rand(2, 32, 32)}, "irof")["m"]["irof"].values
    assert values[0].item() == pytest.approx(0, abs=1e-5)  # the mean color is the image
    engine = xai.Engine(Constant((32, 32)))
    maps = maps_for(lambda output: output[:, 0] * 0, engine, images, m=torch.rand(2, 32, 32))
    assert torch.equal(engine.evaluate(images, maps, "irof")["m"]["irof"].values, torch.zeros(2))


def test_images_that_are_not_finite_are_refused_as_everywhere(cnn: nn.Module, images: Tensor) -> None:
    images[1, 0, 0, 0] = torch.nan
    with pytest.raises(NonFiniteInputError, match=r"images \[1\] of the batch contain NaN"):
        xai.Engine(cnn).evaluate(images, {"m": torch.rand(3, 32, 32)}, "irof")


def test_closed_form_on_a_linear_target(pictures: Tensor) -> None:
    """Each superpixel that takes the mean color takes its share of the score, whatever the others do."""
    images = pictures - pictures.mean((2, 3), keepdim=True)
    weight = images / images.square().sum((1, 2, 3), keepdim=True)  # of the image itself, whose score is 1
    model = Linear((32, 32))
    model.weight.data[:] = weight
    engine, saliency = xai.Engine(model), torch.rand(4, 32, 32)
    for i, image in enumerate(images):
        labels = superpixels(image, 100)
        numbers = sorted(np.unique(labels), key=lambda number: -saliency[i].double().numpy()[labels == number].mean())
        added = (image * weight[i]).sum(0).double().numpy()
        lost = np.cumsum([0, *(added[labels == number].sum() for number in numbers)])
        expected = np.trapezoid(lost, dx=1 / len(numbers))
        maps = maps_for(itemgetter((slice(None), i)), engine, image[None], m=saliency[i : i + 1])
        given = engine.evaluate(image[None], maps, "irof")["m"]["irof"].values
        assert given.item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("options", [{"segments": 0}, {"ties": "first"}])
def test_options_that_make_no_sense(options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        xai.create_metric("irof", **options)
