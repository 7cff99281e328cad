"""Smooth Grad-CAM++ against loops in float64 that follow its paper, and by how much torchcam differs from it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchcam.methods
from torch import Tensor, nn

import xai_core as xai
from support.models import SmallCNN, fused_vit, settled
from support.references import Reference, relative
from xai_core.errors import OptionError

N, SIGMA, SEED = 3, 0.3, 5
METHOD = f"smooth-grad-cam++:n={N},sigma={SIGMA},seed={SEED}"
SEEDED = "smooth-grad-cam++:n=2,layer=stem"
CASES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "cnn": (SmallCNN, "last"),
    "cnn, a fine layer": (SmallCNN, "stem"),
    "vit": (fused_vit, "blocks.2.norm1"),
}


def noise(images: Tensor) -> list[Tensor]:
    """The noise of each sample, for all images."""
    generator = torch.Generator().manual_seed(SEED)
    spread = images.amax((1, 2, 3), keepdim=True) - images.amin((1, 2, 3), keepdim=True)
    return [SIGMA * spread * torch.randn(images.shape[1:], generator=generator) for _ in range(N)]


def derivatives(reference: Reference, model: nn.Module, layer: str, images: Tensor) -> list[Tensor]:
    """The gradients of the noisy images for the classes of the images without noise."""
    noisy = (Reference(model, layer, images + each) for each in noise(images))
    return [each.gradient(reference.target) for each in noisy]


def replica(activation: Tensor, gradients: list[Tensor], numerator: int = 2) -> Tensor:
    """The map of one image: alpha from the average of each derivative, and its weights from the average gradient."""
    total = torch.zeros_like(activation[0])
    for k, channel in enumerate(activation):
        averages = {power: sum(g[k] ** power for g in gradients) / len(gradients) for power in (1, 2, 3)}
        denominator = 2 * averages[2] + channel.sum() * averages[3]
        alpha = torch.where(denominator == 0, 0, averages[numerator] / denominator)
        total += (alpha * averages[1].relu()).sum() * channel
    return total.relu()


def replicas(reference: Reference, gradients: list[Tensor], **options: int) -> Tensor:
    return torch.stack(
        [replica(each, [g[i] for g in gradients], **options) for i, each in enumerate(reference.activation)]
    )


def explain(model: nn.Module, images: Tensor, method: str, target: Any = None) -> Tensor:
    [saliency] = xai.Engine(model).explain(images, method, target).values()
    return saliency.raw


def by_peak(maps: Tensor) -> Tensor:
    return maps / maps.amax((1, 2), keepdim=True)


@pytest.mark.parametrize("case", CASES)
def test_equals_its_replica(images: Tensor, case: str) -> None:
    make, layer = CASES[case]
    model, images = settled(make()), images[:2]
    reference = Reference(model, layer, images)
    expected = replicas(reference, derivatives(reference, model, layer, images))
    assert relative(explain(model, images, f"{METHOD},layer={layer}"), expected) < 1e-4
    if case != "cnn":  # whose gradient at the last layer is constant, as the head is linear
        assert relative(explain(model, images, f"grad-cam++:layer={layer}"), expected) > 0.05


def test_without_noise_it_is_grad_cam_plus_plus(images: Tensor) -> None:
    model = settled(SmallCNN())
    for target in (0, [[0, 1], [2, 3], [4, 0]]):
        ours = explain(model, images, "smooth-grad-cam++:n=2,sigma=0,layer=stem+last", target)
        torch.testing.assert_close(ours, explain(model, images, "grad-cam++:layer=stem+last", target))


def test_gradients_may_be_small(images: Tensor) -> None:
    """Cubes of the gradients would be zero in float32. The limit of the weights is half the average gradient."""
    model = settled(SmallCNN())
    with torch.no_grad():
        model.head.weight.mul_(1e-15)
    model.double()  # so that only the map itself is float32
    reference = Reference(model, "last", images)
    average = sum(each.relu() for each in [sum(derivatives(reference, model, "last", images)) / N])
    expected = ((average / 2).sum((2, 3), keepdim=True) * reference.activation).sum(1).relu()
    ours = explain(model.float(), images, METHOD, reference.target)
    torch.testing.assert_close(by_peak(ours.double()), by_peak(expected), atol=1e-5, rtol=0)


def test_noise_is_seeded_and_the_same_for_every_image(images: Tensor) -> None:
    model = settled(SmallCNN())
    first, again, other = (explain(model, images, f"{SEEDED},seed={seed}") for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    torch.testing.assert_close(explain(model, images[1:2], SEEDED), first[1:2])


def by_torchcam(model: nn.Module, images: Tensor) -> Tensor:
    """The maps of torchcam for the same noise, before normalization."""
    samples = noise(images)
    maps = []
    for i, image in enumerate(images):

        class Noise:
            remaining = iter(samples)

            @classmethod
            def sample(cls, size: object, i: int = i) -> Tensor:
                return next(cls.remaining)[i : i + 1].to(images)

        with torchcam.methods.SmoothGradCAMpp(model, "stem", num_samples=N) as cam:
            cam._distrib = Noise
            scores = model(image[None])
            [theirs] = cam(int(scores.argmax()), scores, normalized=False)
        maps.append(theirs[0].relu())
    return torch.stack(maps).detach()


def torchcams_formula(activation: Tensor, noisy: Tensor, gradients: list[Tensor]) -> Tensor:
    """Weights from the last gradient, which multiply the activation of the last noisy image."""
    second, third = (sum(g**power for g in gradients) / len(gradients) for power in (2, 3))
    denominator = 2 * second + (third * activation).sum((2, 3), keepdim=True) + 1e-8
    weights = (second / denominator * gradients[-1].relu()).sum((2, 3), keepdim=True)
    return (weights * noisy).sum(1).relu()


def test_torchcam_and_the_printed_numerator_differ_by_this_much(images: Tensor) -> None:
    """As shares of the peak. The numerator of alpha in the preprint is the first derivative, according to torchcam."""
    model = settled(SmallCNN())
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    reference = Reference(model, "stem", images)
    gradients = derivatives(reference, model, "stem", images)
    expected = by_peak(replicas(reference, gradients))
    ours = by_peak(explain(model, images, f"{METHOD},layer=stem").double())
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=0)
    theirs, printed = by_peak(by_torchcam(model, images)), by_peak(replicas(reference, gradients, numerator=1))
    noisy = Reference(model, "stem", images + noise(images)[-1]).activation
    formula = by_peak(torchcams_formula(reference.activation, noisy, gradients))
    torch.testing.assert_close(theirs.double(), formula, atol=1e-5, rtol=0)
    without_noise = by_peak(torchcams_formula(reference.activation, reference.activation, gradients))
    assert (theirs - expected).abs().amax() > 0.9
    assert (without_noise - expected).abs().amax() > 0.05
    assert (printed - expected).abs().amax() > 0.1


@pytest.mark.parametrize(
    ("options", "message"), [("n=0", "at least 1"), ("sigma=-1", r"in \[0, inf\)"), ("seed=a", "seed")]
)
def test_bad_options(options: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        xai.create_explainer(f"smooth-grad-cam++:{options}")
