"""Coherency, complexity and ADCC against SciPy on maps made apart in float64, and against closed forms."""

import copy

import pytest
import torch
from scipy.stats import hmean, pearsonr
from torch import Tensor, nn

import xai_core as xai
from support.explaining import maps_for
from support.models import SmallCNN, settled
from support.observing import given_to
from support.references import Reference, between_zero_and_one, resized
from xai_core.errors import UnsuitableError

ALL = ["coherency", "complexity", "adcc"]


@pytest.fixture
def cnn() -> nn.Module:
    model = settled(SmallCNN())
    model.head.weight.data *= 8  # confident, so that probabilities move
    return model


def grad_cam(model: nn.Module, image: Tensor, target: int) -> Tensor:
    """Grad-CAM [H,W] of one image of a class, in float64, apart from the engine."""
    reference = Reference(model, "last.2", image[None])
    weights = reference.gradient([target]).mean((2, 3), keepdim=True)
    cam = (weights * reference.spatial(reference.leaf.detach())).sum(1).relu()
    return between_zero_and_one(resized(cam, (32, 32)))[0]


def test_equal_those_of_scipy(cnn: nn.Module) -> None:
    images = torch.randn(12, 3, 32, 32)
    engine, double = xai.Engine(cnn), copy.deepcopy(cnn).double()
    classes = cnn(images).argmax(1).tolist()
    keep = [i for i in range(12) if grad_cam(double, images[i], classes[i]).isfinite().all()]
    images, classes = images[keep], [classes[i] for i in keep]
    scores = engine.evaluate(images, engine.explain(images, "grad-cam:layer=last.2"), ALL)["grad-cam:layer=last.2"]
    compared = 0
    for i, image in enumerate(images.double()):
        values = grad_cam(double, image, classes[i])
        masked = image * values
        again = grad_cam(double, masked, classes[i])
        with torch.no_grad():
            whole, kept = (double(one[None]).softmax(1)[0, classes[i]].item() for one in (image, masked))
        drop, complex_ = max(0, whole - kept) / whole, values.mean().item()
        if again.isfinite().all():
            compared += 1
            coherent = (1 + pearsonr(values.flatten(), again.flatten()).statistic) / 2
        else:
            coherent = 0
        assert scores["coherency"].values[i].item() == pytest.approx(coherent, abs=1e-4)
        assert scores["complexity"].values[i].item() == pytest.approx(complex_, abs=1e-5)
        expected = hmean([coherent, 1 - complex_, 1 - drop]) if coherent else 0
        assert scores["adcc"].values[i].item() == pytest.approx(expected, abs=1e-4)
    assert compared >= 3


class Fixed(xai.Explainer):
    """A map of ones where the image is positive, turned over for the second explanation if that is wanted."""

    name = "fixed"
    targeted = False

    def __init__(self, sign: float) -> None:
        self.sign, self._calls = sign, 0

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        return xai.Needs()

    def explain(self, captured: xai.Captured) -> Tensor:
        self._calls += 1
        pattern = torch.arange(32.0).expand(len(captured.images), 32, 32)
        return pattern if self._calls % 2 else self.sign * pattern


@pytest.mark.filterwarnings("ignore::xai_core.errors.ConstantMapWarning")
@pytest.mark.parametrize(("sign", "expected"), [(1, 1), (-1, 0), (0, 0)])
def test_the_same_map_is_coherent_its_opposite_and_a_flat_one_not(
    cnn: nn.Module, images: Tensor, sign: float, expected: float
) -> None:
    engine = xai.Engine(cnn)
    scores = engine.evaluate(images, engine.explain(images, Fixed(sign)), ["coherency", "adcc"])["fixed"]
    torch.testing.assert_close(scores["coherency"].values, torch.full((3,), float(expected)), atol=1e-6, rtol=0)
    if not expected:
        torch.testing.assert_close(scores["adcc"].values, torch.zeros(3), atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("ignore::xai_core.errors.ConstantMapWarning")
def test_complexity_is_the_mean_and_nothing_for_a_flat_map(cnn: nn.Module, images: Tensor) -> None:
    ramp = torch.arange(32.0).expand(3, 32, 32)
    maps = {"ramp": ramp * 5 - 9, "flat": torch.full((3, 32, 32), 7.0), "one pixel": torch.zeros(3, 32, 32)}
    maps["one pixel"][:, 3, 4] = 2
    scores = xai.Engine(cnn).evaluate(images, maps, "complexity")
    for name, expected in {"ramp": 0.5, "flat": 0, "one pixel": 1 / 1024}.items():
        torch.testing.assert_close(scores[name]["complexity"].values, torch.full((3,), float(expected)))


def test_all_three_and_average_drop_explain_once_and_score_once(cnn: nn.Module, images: Tensor) -> None:
    engine, alone = xai.Engine(cnn), xai.Engine(cnn)
    maps = engine.explain(images, "grad-cam")
    with given_to(cnn) as batches:
        scores = engine.evaluate(images, maps, [*ALL, "average-drop"])["grad-cam"]
    assert sum(map(len, batches)) == 3 * 3  # the image, the masked image, and the pass that explains it
    for name in ALL:
        assert torch.equal(alone.evaluate(images, maps, name)["grad-cam"][name].values, scores[name].values)


def test_maps_of_ones_own_cannot_be_explained_again(cnn: nn.Module, images: Tensor) -> None:
    engine = xai.Engine(cnn)
    maps = maps_for(1, engine, images, mine=torch.rand(3, 32, 32))
    for name in ("coherency", "adcc"):
        with pytest.raises(UnsuitableError, match=r"Engine\.explain"):
            engine.evaluate(images, maps, name)
