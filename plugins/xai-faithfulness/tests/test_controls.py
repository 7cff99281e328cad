"""Maps that know nothing of the model: noise, the center and edges, against NumPy and SciPy."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage, stats
from torch import Tensor, nn

import xai_core as xai
from support.models import SmallCNN, settled
from support.volume_models import SmallCNN3d
from xai_core.errors import OptionError
from xai_core.plugin import normalize

CONTROLS = ["center", "edges", "random"]


@pytest.fixture
def engine() -> xai.Engine:
    return xai.Engine(settled(SmallCNN()))


def raw(engine: xai.Engine, images: Tensor, method: str) -> Tensor:
    return engine.explain(images, method)[method].raw


def split_mix(number: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64 in unsigned integers."""
    number = number + np.uint64(0x9E3779B97F4A7C15)
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))


def test_random_is_split_mix(engine: xai.Engine, images: Tensor) -> None:
    """The generator in NumPy's unsigned integers, whose first number for the seed 0 is known."""
    assert split_mix(np.zeros(1, np.uint64))[0] == 0xE220A8397B1DCDAF
    made = raw(engine, images, "random:seed=7")
    for image, noise in zip(images, made, strict=True):
        bits = image.bfloat16().view(torch.int16).numpy().astype(np.int64).astype(np.uint64).flatten()
        places = np.arange(bits.size, dtype=np.uint64)
        start = split_mix(split_mix(bits + (places << np.uint64(16))).sum(keepdims=True) + np.uint64(7))
        expected = (split_mix(start + places[: noise.numel()]) >> np.uint64(40)) / 2.0**24
        assert np.array_equal(noise.numpy().flatten(), expected)


def test_random_is_uniform_and_independent(engine: xai.Engine) -> None:
    one, other = raw(engine, torch.randn(2, 3, 96, 96), "random").flatten(1).double().numpy()
    again = raw(engine, torch.zeros(1, 3, 96, 96), "random:seed=1").flatten().double().numpy()
    for noise in (one, other, again):
        assert stats.kstest(noise, "uniform").pvalue > 1e-3
        assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < 0.04
    assert abs(np.corrcoef(np.stack([one, other, again])) - np.eye(3)).max() < 0.04


def test_random_follows_the_image_and_not_its_place(engine: xai.Engine, images: Tensor) -> None:
    together = raw(engine, images, "random")
    assert torch.equal(raw(engine, images.flip(0), "random"), together.flip(0))
    assert torch.equal(raw(engine, images[1:2].contiguous(memory_format=torch.channels_last), "random"), together[1:2])
    mirrored = raw(engine, images.flip(3), "random")
    assert not any(torch.equal(mirrored, other) for other in (together, together.flip(2)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_random_is_the_same_in_any_precision(images: Tensor, dtype: torch.dtype) -> None:
    images = images.bfloat16().float()  # which all of them can hold
    expected = raw(xai.Engine(settled(SmallCNN())), images, "random")
    assert torch.equal(raw(xai.Engine(settled(SmallCNN()).to(dtype)), images.to(dtype), "random"), expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_floors_are_the_same_on_cuda(engine: xai.Engine, images: Tensor) -> None:
    on_cuda = xai.Engine(settled(SmallCNN()).cuda())
    assert torch.equal(raw(on_cuda, images, "random").cpu(), raw(engine, images, "random"))
    for method in ("center", "edges"):
        torch.testing.assert_close(raw(on_cuda, images, method).cpu(), raw(engine, images, method))


@pytest.mark.parametrize(("size", "sigma"), [((32, 32), 0.25), ((24, 41), 0.1)])
def test_center_is_a_gaussian(engine: xai.Engine, size: tuple[int, int], sigma: float) -> None:
    made = raw(engine, torch.randn(2, 3, *size), f"center:sigma={sigma}")
    middle = [(side - 1) / 2 for side in size]
    density = stats.multivariate_normal(middle, (sigma * min(size)) ** 2)
    expected = density.pdf(np.moveaxis(np.indices(size), 0, -1)) / density.pdf(middle)
    np.testing.assert_allclose(made.numpy(), np.stack([expected] * 2), atol=1e-6)


@pytest.mark.parametrize("size", [(24, 41), (5, 12, 17), (1, 12, 17)])
def test_edges_are_scipys_sobel(engine: xai.Engine, size: tuple[int, ...]) -> None:
    images = torch.randn(2, 3, *size)
    engine = engine if len(size) == 2 else xai.Engine(SmallCNN3d().eval())
    gray = images.double().mean(1).numpy()
    expected = [ndimage.generic_gradient_magnitude(one, ndimage.sobel, mode="nearest") for one in gray]
    np.testing.assert_allclose(raw(engine, images, "edges").numpy(), np.stack(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", CONTROLS)
def test_floors_need_no_spatial_features(images: Tensor, method: str) -> None:
    """A model without places, or one whose output is not of classes, has controls too."""
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 8), nn.ReLU(), nn.Linear(8, 5))
    made = xai.Engine(flat).explain(images, method)[method]
    assert made.values.shape == (3, 32, 32)
    torch.testing.assert_close(made.raw, raw(xai.Engine(settled(SmallCNN())), images, method))
    whatever = xai.Engine(nn.Identity()).explain(images, method, lambda output: output.mean((1, 2, 3)))
    torch.testing.assert_close(whatever[method].raw, made.raw)


@pytest.mark.parametrize("method", CONTROLS)
def test_floors_are_made_once_for_all_targets(engine: xai.Engine, images: Tensor, method: str) -> None:
    made = engine.explain(images, method, [[0, 1]] * 3)[method]
    assert torch.equal(made.values[:, 0], made.values[:, 1])
    assert xai.create_explainer(method).targeted is False


def test_floors_with_others_take_nothing_from_them(engine: xai.Engine, images: Tensor) -> None:
    together = engine.explain(images, [*CONTROLS, "grad-cam"])
    for method in CONTROLS:
        assert torch.equal(together[method].raw, raw(engine, images, method))


def test_bad_options() -> None:
    with pytest.raises(OptionError, match=r"sigma must be a number in \(0, inf\)"):
        xai.create_explainer("center:sigma=0")


@pytest.mark.parametrize("power", [0.5, 3])
def test_flattened_is_a_power_of_the_normalized_map(engine: xai.Engine, images: Tensor, power: float) -> None:
    relevance = raw(engine, images, "saliency").double().flatten(1).numpy()
    low, high = relevance.min(1, keepdims=True), relevance.max(1, keepdims=True)
    expected = ((relevance - low) / (high - low)) ** power
    found = raw(engine, images, f"flattened(saliency):power={power}").flatten(1).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_blurred_is_scipys_gaussian_filter(engine: xai.Engine) -> None:
    wide, volumes = torch.randn(2, 3, 24, 40), torch.randn(1, 3, 8, 12, 10)
    for of, inputs in ((engine, wide), (xai.Engine(settled(SmallCNN3d())), volumes)):
        maps = normalize(raw(of, inputs, "saliency")).double().numpy()
        found = raw(of, inputs, "blurred(saliency):sigma=0.15").numpy()
        for values, blurred in zip(maps, found, strict=True):
            sigmas = [0.15 * side for side in values.shape]
            radii = [math.ceil(3 * sigma) for sigma in sigmas]
            expected = ndimage.gaussian_filter(values, sigmas, mode="nearest", radius=radii)
            np.testing.assert_allclose(blurred, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["flattened", "blurred"])
def test_changed_maps_cost_what_the_method_costs(engine: xai.Engine, images: Tensor, name: str) -> None:
    adapter = engine.adapter(images)
    for method in ("grad-cam", "score-cam"):
        composite = xai.create_explainer(f"{name}({method})")
        assert composite.spec == f"{name}({method})"
        assert composite.forward_passes(adapter) == xai.create_explainer(method).forward_passes(adapter)
    with pytest.raises(OptionError, match=r"must be a number in \(0, inf\)"):
        xai.create_explainer(f"{name}(grad-cam):{'power' if name == 'flattened' else 'sigma'}=0")
