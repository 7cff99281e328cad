"""Group-CAM against a loop over groups in float64 that follows its paper."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.models import SmallCNN, fused_vit, settled
from support.references import Reference, relative, resized
from support.volume_models import PlainCNN3d, built, two_clips
from xai_cam.group_cam import blur
from xai_core.errors import OptionError

pytestmark = pytest.mark.filterwarnings("ignore::xai_core.errors.ConstantMapWarning")  # of random models


def blurred(image: Tensor) -> Tensor:
    """The image [C,*size], padded by reflection and averaged with Gaussian weights, along one side after the other."""
    offsets = np.arange(-25, 26)
    weights = np.exp(-(offsets**2) / (2 * 50**2))
    result = image.numpy()
    for axis in range(1, image.ndim):
        padded = np.pad(result, [(25, 25) if each == axis else (0, 0) for each in range(image.ndim)], "reflect")
        windows = np.lib.stride_tricks.sliding_window_view(padded, 51, axis)
        result = windows @ (weights / weights.sum())
    return torch.from_numpy(result)


def replica(reference: Reference, i: int, groups: int, percentile: float, logit: bool = False) -> Tensor:
    """The map of one image, group by group."""
    image, target = reference.images[i], reference.target[i]
    score = reference.score if logit else reference.probability
    baseline = score(blurred(image), target)
    gradient = reference.gradient(reference.target)[i]
    channels = gradient.mean((1, 2), keepdim=True) * reference.activation[i]
    total = torch.zeros_like(image[0])
    for group in channels.chunk(groups):
        mask = group.sum(0).relu()
        mask[mask <= np.percentile(mask.numpy(), percentile)] = 0
        large = resized(mask[None], (32, 32))[0]
        if large.max() > large.min():
            large = (large - large.min()) / (large.max() - large.min())
            total += (score(image * large + blurred(image) * (1 - large), target) - baseline) * large
    return total.relu()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", {"groups": 32, "percentile": 70}),
        ("groups=5,percentile=0,score=logit", {"groups": 5, "percentile": 0, "logit": True}),
    ],
    ids=["defaults", "other options"],
)
@pytest.mark.parametrize(("make", "layer"), [(SmallCNN, "last"), (fused_vit, "blocks.2.norm1")])
def test_equals_its_replica(
    images: Tensor, make: Callable[[], nn.Module], layer: str, options: str, expected: dict[str, float]
) -> None:
    model, images = settled(make()), images[:2]
    reference = Reference(model, layer, images)
    engine = xai.Engine(model.double(), block=5)
    [ours] = engine.explain(images.double(), f"group-cam:layer={layer}{',' * bool(options)}{options}").values()
    theirs = torch.stack([replica(reference, i, **expected) for i in range(2)])
    assert theirs.any()
    assert relative(ours.raw, theirs) < 1e-4


def test_several_targets_are_those_of_each(images: Tensor) -> None:
    engine = xai.Engine(settled(SmallCNN()).double())
    both = engine.explain(images.double(), "group-cam:groups=4", [[0, 1], [2, 3], [4, 0]])["group-cam:groups=4"].raw
    for index, targets in enumerate([[0, 2, 4], [1, 3, 0]]):
        one = engine.explain(images.double(), "group-cam:groups=4", targets)["group-cam:groups=4"].raw
        torch.testing.assert_close(both[:, index], one)


def test_one_group_without_a_threshold_has_the_shape_of_grad_cam(images: Tensor) -> None:
    """The map of one group is Grad-CAM, normalized at the size of the image, times the effect of its mask."""
    model = settled(SmallCNN())
    maps = xai.Engine(model).explain(images, ["group-cam:groups=1,percentile=0", "grad-cam"])
    [ours, grad_cam] = maps.values()
    kept = ~ours.constant
    assert kept.any()
    torch.testing.assert_close(ours.values[kept], grad_cam.values[kept], atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(32, 40), (9, 1), (60, 2)])
def test_the_blur_reflects_at_the_borders(size: tuple[int, ...]) -> None:
    """Also if a side is shorter than half the kernel, so that it is reflected several times."""
    images = torch.randn(2, 3, *size, dtype=torch.float64)
    torch.testing.assert_close(blur(images), torch.stack([blurred(image) for image in images]), atol=1e-6, rtol=0)


def test_volumes() -> None:
    clips = two_clips()
    [ours] = xai.Engine(built(PlainCNN3d)).explain(clips, "group-cam:groups=4", 2).values()
    assert ours.raw.shape == (2, *clips.shape[2:])
    torch.testing.assert_close(blur(clips)[0].double(), blurred(clips[0].double()), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("option", "message"), [("groups=0", "at least 1"), ("percentile=100", "percentile"), ("score=softmax", "score")]
)
def test_bad_options(option: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        xai.create_explainer(f"group-cam:{option}")
