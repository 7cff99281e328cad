"""The methods that score the model again against loops in float64 that follow their papers, and against a peer."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import pytorch_grad_cam
import torch
from torch import Tensor, nn

import xai_core as xai
from support.models import SmallCNN, fused_vit, settled
from support.references import Reference, between_zero_and_one, by_peer, relative, resized
from xai_core.errors import OptionError


def ablation_cam(reference: Reference, i: int) -> Tensor:
    """Eq. 4-5: w_k = (y - y_k) / y, with y_k the score where A_k is zero, and ReLU(sum_k w_k A_k); here by |y|."""
    image, target, activation = reference.images[i], reference.target[i], reference.activation[i]
    whole, summed = reference.score(image, target), torch.zeros_like(activation[0])
    for k, channel in enumerate(activation):
        ablated = activation.clone()
        ablated[k] = 0
        summed += (whole - reference.score(image, target, ablated)) / whole.abs() * channel
    return summed.relu()


def over_masks(
    reference: Reference, i: int, masked: Callable[[Tensor, Tensor, int], Tensor], n: int, logit: bool = False
) -> Tensor:
    """A channel's weight is the mean of the scores of n images masked by it; channels that are flat have none."""
    image, target, activation = reference.images[i], reference.target[i], reference.activation[i]
    score = reference.score if logit else reference.probability
    summed = torch.zeros_like(activation[0])
    for channel in activation:
        if channel.max() > channel.min():
            large = resized(channel[None], (32, 32))[0]
            summed += sum(score(masked(image, large, sample), target) for sample in range(n)) / n * channel
    return summed.relu()


def minmax(mask: Tensor) -> Tensor:
    return (mask - mask.min()) / (mask.max() - mask.min())


def noise(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


def ss_cam_of_activations(image: Tensor, large: Tensor, sample: int) -> Tensor:
    """SS-CAM (1): the noise is on the activation, which is normalized after it."""
    return image * minmax(large + 2 * noise((1, 32, 32), sample)[0])


def ss_cam_of_images(image: Tensor, large: Tensor, sample: int) -> Tensor:
    """SS-CAM (2): the noise is on the masked image."""
    return image * minmax(large) + 0.5 * noise((3, 32, 32), 7 + sample)


def is_cam(image: Tensor, large: Tensor, sample: int) -> Tensor:
    """IS-CAM: the mask grows in n = 4 equal steps."""
    return image * minmax(large) * (sample + 1) / 4


METHODS: dict[str, Callable[[Reference, int], Tensor]] = {
    "ablation-cam": ablation_cam,
    "ss-cam:n=3": lambda reference, i: over_masks(reference, i, ss_cam_of_activations, 3),
    "ss-cam:n=3,noise=image,sigma=0.5,seed=7": lambda reference, i: over_masks(reference, i, ss_cam_of_images, 3),
    "is-cam:n=4": lambda reference, i: over_masks(reference, i, is_cam, 4),
    "is-cam:n=4,score=logit": lambda reference, i: over_masks(reference, i, is_cam, 4, logit=True),
}
CASES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "cnn": (SmallCNN, "last"),
    "cnn, a skip around": (SmallCNN, "body"),
    "vit": (fused_vit, "blocks.2.norm1"),
}


def explain(model: nn.Module, images: Tensor, method: str, **options: Any) -> xai.Saliency:
    (saliency,) = xai.Engine(model, **options).explain(images, method).values()
    return saliency


def at(method: str, layer: str) -> str:
    return f"{method}{',' if ':' in method else ':'}layer={layer}"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", CASES)
def test_equals_its_replica(images: Tensor, case: str, method: str) -> None:
    make, layer = CASES[case]
    model = settled(make())
    reference = Reference(model, layer, images)
    expected = torch.stack([METHODS[method](reference, i) for i in range(len(images))])
    ours = explain(model.double(), images.double(), at(method, layer))
    assert ours.raw.shape == expected.shape
    assert relative(ours.raw, expected) < 1e-5


@pytest.mark.filterwarnings("ignore::xai_core.errors.ConstantMapWarning")
def test_ablation_cam_of_a_negative_score(images: Tensor) -> None:
    """What lowers the score by its absence is evidence, whatever the sign of the score."""
    model = settled(SmallCNN())
    reference = Reference(model, "last", images)
    reference.target = reference.scores.argmin(1).tolist()
    assert (reference.scores.amin(1) < 0).all()
    expected = torch.stack([ablation_cam(reference, i) for i in range(3)])
    assert expected.any()
    ours = xai.Engine(model.double()).explain(images.double(), "ablation-cam", reference.target)["ablation-cam"]
    assert relative(ours.raw, expected) < 1e-5


@pytest.mark.parametrize("method", ["ablation-cam", "ss-cam:n=2", "is-cam:n=2"])
@pytest.mark.parametrize("case", CASES)
def test_blocks_do_not_matter(images: Tensor, case: str, method: str) -> None:
    make, layer = CASES[case]
    model = settled(make()).double()
    images = images[:2].double()
    one, *others = (explain(model, images, at(method, layer), block=block).raw for block in (1, 5, 64))
    for other in others:
        torch.testing.assert_close(other, one)


@pytest.mark.parametrize("method", ["ablation-cam", "ss-cam:n=2", "is-cam:n=2"])
def test_several_targets_are_those_of_each(images: Tensor, method: str) -> None:
    model, targets = settled(SmallCNN()).double(), torch.tensor([[0, 1], [4, 2], [3, 3]])
    engine = xai.Engine(model)
    ours = engine.explain(images.double(), method, target=targets)[method]
    for t in range(2):
        expected = engine.explain(images.double(), method, target=targets[:, t])[method]
        torch.testing.assert_close(ours.raw[:, t], expected.raw)


def runs(model: nn.Module, layer: str, images: Tensor) -> list[int]:
    """How many images each run of the trunk on real values had, in one explanation by Ablation-CAM."""
    engine, seen = xai.Engine(model, block=16), []
    engine.adapter(images)
    trunk = next(module for module in model.modules() if isinstance(module, nn.Conv2d))

    def note(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        if not args[0].is_meta:
            seen.append(len(args[0]))

    handle = trunk.register_forward_pre_hook(note)
    engine.explain(images, f"ablation-cam:layer={layer}")
    handle.remove()
    return seen


@pytest.mark.parametrize("layer", ["last", "stem", "last.0"])
def test_the_trunk_never_runs_again(images: Tensor, layer: str) -> None:
    assert runs(settled(SmallCNN()), layer, images) == [3]


@pytest.mark.parametrize(("make", "layer", "channels"), [(SmallCNN, "body", 8), (fused_vit, "blocks.2.norm1", 32)])
def test_the_whole_model_runs_where_a_skip_goes_round_the_layer(
    images: Tensor, make: Callable[[], nn.Module], layer: str, channels: int
) -> None:
    assert sum(runs(settled(make()), layer, images)) == 3 + 3 + 3 * channels  # the pass, whole, and each ablated


@pytest.mark.parametrize("case", CASES)
def test_the_model_is_as_before(images: Tensor, case: str) -> None:
    make, layer = CASES[case]
    model = settled(make()).train()
    before = copy.deepcopy(model.state_dict())
    explain(model, images, f"ablation-cam:layer={layer}")
    torch.testing.assert_close(model.state_dict(), before, atol=0, rtol=0)
    assert all(module.training and not module._forward_hooks for module in model.modules())


def test_ablation_cam_is_pytorch_grad_cams_where_activations_are_not_negative(images: Tensor) -> None:
    model = settled(SmallCNN())
    assert (model(images).amax(1) > 0).all()  # theirs turns the map round where the score is negative
    theirs = by_peer(pytorch_grad_cam.AblationCAM, model, "last", images)
    ours = explain(model, images, "ablation-cam")
    torch.testing.assert_close(ours.values, theirs, atol=1e-5, rtol=0)


class Signed(nn.Module):
    """Activations of both signs, pooled."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.Tanh())
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x).mean((2, 3)))


def test_ablation_to_ten_million_below_is_not_ablation_to_zero(images: Tensor) -> None:
    """Where activations can be negative, pytorch-grad-cam's map is not the paper's: they differ by the full range."""
    model = settled(Signed())
    reference = Reference(model, "layer", images)
    expected = torch.stack([ablation_cam(reference, i) for i in range(len(images))])
    expected = between_zero_and_one(resized(expected, (32, 32))).float()
    ours = explain(model, images, "ablation-cam:layer=layer").values
    theirs = by_peer(pytorch_grad_cam.AblationCAM, model, "layer", images)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)
    assert (theirs - expected).abs().amax((1, 2)).amin() > 0.9


def test_one_noise_of_none_and_one_step_are_score_cam(images: Tensor) -> None:
    maps = xai.Engine(settled(SmallCNN())).explain(images, ["score-cam", "ss-cam:n=1,sigma=0.0", "is-cam:n=1"])
    score_cam, *others = maps.values()
    for other in others:
        torch.testing.assert_close(other.raw, score_cam.raw)


def test_the_seed_of_ss_cam(images: Tensor) -> None:
    model = settled(SmallCNN())
    first, again, other = (explain(model, images, f"ss-cam:n=2,seed={seed}").raw for seed in (0, 0, 5))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("ss-cam:n=0", "at least 1"),
        ("is-cam:n=0", "at least 1"),
        ("ss-cam:noise=both", "activation, image"),
        ("is-cam:score=softmax", "probability, logit"),
    ],
)
def test_bad_options(spec: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        xai.create_explainer(spec)
