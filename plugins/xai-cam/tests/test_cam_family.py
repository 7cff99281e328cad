"""The one-pass members of the CAM family against loops in float64 that follow the papers, and against peers."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import pytorch_grad_cam
import torch
from numpy.typing import NDArray
from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection
from torch import Tensor, nn
from torch.nn.functional import interpolate

import xai_core as xai
from support.models import SmallCNN, fused_vit, settled
from xai_cam.principal_component import principal_component, singular_component
from xai_core.errors import ConstantMapWarning, OptionError
from xai_core.plugin import normalize, resize

Array = NDArray[np.float64]


def grad_cam_plus_plus(activation: Array, gradient: Array) -> Array:
    """Eq. 19 for alpha, as it is printed; the weights are sum alpha ReLU(g)."""
    weighted = np.zeros_like(activation)
    for k, (channel, gradients) in enumerate(zip(activation, gradient, strict=True)):
        for g in gradients.flat:
            denominator = 2 * g**2 + channel.sum() * g**3
            alpha = g**2 / denominator if denominator else 0.0
            weighted[k] += alpha * max(g, 0) * channel
    return np.maximum(weighted.sum(0), 0)


def xgrad_cam(activation: Array, gradient: Array) -> Array:
    """The weights of Fu et al.: the mean gradient, each place counting by its share of the channel's activation."""
    weighted = np.zeros_like(activation)
    for k, (channel, gradients) in enumerate(zip(activation, gradient, strict=True)):
        for a, g in zip(channel.flat, gradients.flat, strict=True):
            weighted[k] += a / channel.sum() * g * channel if channel.sum() else 0
    return np.maximum(weighted.sum(0), 0)


def place_by_place(weigh: Callable[[float, float], float]) -> Callable[[Array, Array], Array]:
    """A sum over channels of a function of activation and gradient at each place, then rectified."""

    def replica(activation: Array, gradient: Array) -> Array:
        channels, height, width = activation.shape
        summed = np.zeros((height, width))
        for i in range(height):
            for j in range(width):
                summed[i, j] = sum(weigh(activation[k, i, j], gradient[k, i, j]) for k in range(channels))
        return np.maximum(summed, 0)

    return replica


def eigen_cam(activation: Array, gradient: Array) -> Array:
    """Muhammad and Yeasin: O = U S V^T, L = O V_1; the sign that makes the sum positive."""
    places = activation.reshape(len(activation), -1).T
    component = places @ np.linalg.svd(places)[2][0]
    return (component * np.sign(component.sum())).reshape(activation.shape[1:])


def eigen_grad_cam(activation: Array, gradient: Array) -> Array:
    """pytorch-grad-cam: the same of gradient times activation, centered; the sign that follows their sum."""
    places = (activation * gradient).reshape(len(activation), -1).T
    centered = places - places.mean(0)
    component = centered @ np.linalg.svd(centered)[2][0]
    component *= np.sign(component @ places.sum(1))
    return np.maximum(component, 0).reshape(activation.shape[1:])


def fem(activation: Array, gradient: Array, k: float = 2) -> Array:
    """Fuad et al.: maps that are 1 above mean + k std and else 0, weighted by the channels' means."""
    summed = np.zeros(activation.shape[1:])
    for channel in activation:
        summed += channel.mean() * (channel > channel.mean() + k * channel.std())
    return summed


REPLICAS: dict[str, Callable[[Array, Array], Array]] = {
    "eigen-cam": eigen_cam,
    "eigen-grad-cam": eigen_grad_cam,
    "element-wise-cam": place_by_place(lambda a, g: max(a * g, 0)),
    "fem": fem,
    "grad-cam++": grad_cam_plus_plus,
    "hires-cam": place_by_place(lambda a, g: a * g),  # the paper's sum, rectified as in its authors' code
    "layer-cam": place_by_place(lambda a, g: a * max(g, 0)),  # eq. 6-8
    "xgrad-cam": xgrad_cam,
}
CASES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "cnn": (SmallCNN, "last"),
    "cnn, a fine layer": (SmallCNN, "stem"),
    "vit": (fused_vit, "blocks.2.norm1"),
}


class Case:
    """A model and a layer, and what that layer gives in float64, read without the engine."""

    def __init__(self, make: Callable[[], nn.Module], layer: str, images: Tensor, scale: float = 1) -> None:
        torch.manual_seed(0)
        self.model, self.layer, self.images = settled(make()), layer, images
        self.model.head.requires_grad_(False).weight.mul_(scale)
        self.tokens = not isinstance(self.model, SmallCNN)
        reference = copy.deepcopy(self.model).double()
        kept: list[Tensor] = []

        def keep(_: nn.Module, __: object, output: Tensor) -> Tensor:
            kept.append(output.detach().requires_grad_())
            return kept[0].clone()

        reference.get_submodule(layer).register_forward_hook(keep)
        scores = reference(images.double())
        (gradient,) = torch.autograd.grad(scores.amax(1).sum(), kept)
        self.activation, self.gradient = self.spatial(kept[0].detach()), self.spatial(gradient)

    def spatial(self, output: Tensor) -> Tensor:
        return output[:, 1:].transpose(1, 2).unflatten(2, (4, 4)) if self.tokens else output.clone()

    def by_replica(self, method: str) -> Tensor:
        pairs = zip(self.activation.numpy(), self.gradient.numpy(), strict=True)
        return torch.stack([torch.from_numpy(REPLICAS[method](*pair)) for pair in pairs])

    def by_us(self, method: str) -> xai.Saliency:
        explainer = xai.create_explainer(method, layer=self.layer)
        return xai.Engine(self.model).explain(self.images, explainer)[method]

    def by_pytorch_grad_cam(self, method: str) -> Tensor:
        layer = self.model.get_submodule(self.layer)
        with getattr(pytorch_grad_cam, method)(self.model, [layer], reshape_transform=self.spatial) as cam:
            return torch.from_numpy(np.asarray(cam(self.images, targets=None)))


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, images: Tensor) -> Case:
    return Case(*CASES[request.param], images)


def relative(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, as a share of the largest value."""
    return ((ours - theirs).abs().amax() / theirs.abs().amax()).item()


def by_peak(maps: Tensor) -> Tensor:
    return maps / maps.amax((1, 2), keepdim=True)


@pytest.mark.parametrize("method", REPLICAS)
def test_equals_its_replica(case: Case, method: str) -> None:
    ours, expected = case.by_us(method).raw, case.by_replica(method)
    assert ours.shape == expected.shape
    assert relative(ours, expected) < 1e-5


AGREEING = {
    "element-wise-cam": "GradCAMElementWise",
    "hires-cam": "HiResCAM",
    "layer-cam": "LayerCAM",
    "xgrad-cam": "XGradCAM",
}


@pytest.mark.parametrize("method", AGREEING)
def test_equals_pytorch_grad_cam(case: Case, method: str) -> None:
    theirs = case.by_pytorch_grad_cam(AGREEING[method])
    torch.testing.assert_close(case.by_us(method).values, theirs, atol=1e-5, rtol=0)


def peers_grad_cam_plus_plus(case: Case) -> dict[str, Tensor]:
    """The maps [B,h,w] of the peers' weights: pytorch-grad-cam's own, and what torchcam 0.5.0 computes."""
    activation, gradient = case.activation, case.gradient
    weigh = pytorch_grad_cam.GradCAMPlusPlus.get_cam_weights
    weights = {
        "pytorch-grad-cam": torch.from_numpy(weigh(None, None, None, None, activation.numpy(), gradient.numpy())),
        "torchcam": gradient.relu().pow(3).sum((2, 3)),
    }
    return {peer: (each[..., None, None] * activation).sum(1).relu() for peer, each in weights.items()}


@pytest.mark.parametrize(
    ("scale", "differences"),
    [
        (1, {"pytorch-grad-cam": 0.07, "torchcam": 0.7}),
        (1e-3, {"pytorch-grad-cam": 0.7, "torchcam": 0.7}),  # gradients of about 1e-6, like those of large nets
        (1e-15, {"pytorch-grad-cam": 0.7, "torchcam": 0.7}),  # g^3 is zero in float32
    ],
)
def test_grad_cam_plus_plus_is_eq_19_where_peers_are_not(
    images: Tensor, scale: float, differences: dict[str, float]
) -> None:
    """As shares of the peak: ours is within 1e-5 of eq. 19 at any scale; peers are this far from it."""
    case = Case(SmallCNN, "last", images, scale)
    expected = case.by_replica("grad-cam++")
    torch.testing.assert_close(by_peak(case.by_us("grad-cam++").raw.double()), by_peak(expected), atol=1e-5, rtol=0)
    for peer, theirs in peers_grad_cam_plus_plus(case).items():
        assert (by_peak(theirs) - by_peak(expected)).abs().amax() > differences[peer]


def test_eq_19_has_no_value_where_its_denominator_is_zero() -> None:
    """2 + g sum A is 0 at the second place: its alpha is 0, and no other place is touched."""

    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Identity()
            self.weight = nn.Parameter(torch.tensor([[2.0, 1.0, 4.0, 0.0]]))

        def forward(self, images: Tensor) -> Tensor:
            return (self.layer(images).flatten(1) * self.weight).sum(1, keepdim=True)

    activation = torch.tensor([[[[1.0, -4.0], [2.0, -1.0]]]])  # sums to -2, so that 2 + g sum A = -2, 0, -6, 2
    (ours,) = xai.Engine(Linear()).explain(activation, "grad-cam++:layer=layer", target=0).values()
    weight = 2 / -2 + 4 / -6
    torch.testing.assert_close(ours.raw, (weight * activation[:, 0]).relu())


def test_fem_is_not_pytorch_grad_cams(case: Case) -> None:
    difference = (case.by_us("fem").values - case.by_pytorch_grad_cam("FEM")).abs().amax((1, 2))
    assert difference.amin() > 0.4


def test_eigen_cam_is_not_centred(case: Case) -> None:
    """pytorch-grad-cam takes the channels' means off; with either sign, its map is another."""
    ours = case.by_us("eigen-cam").values
    centered = principal_component(case.activation).float()
    for theirs in (centered, -centered):
        theirs = normalize(resize(theirs.relu(), (32, 32)))
        assert (ours - theirs).abs().amax((1, 2)).amin() > 0.25


def test_the_principal_component_is_pytorch_grad_cams_but_for_its_sign(case: Case) -> None:
    """Theirs has the sign that the decomposition happens to give; ours follows the sum of the channels."""
    weighted = case.activation * case.gradient
    ours, theirs = principal_component(weighted), torch.from_numpy(get_2d_projection(weighted.numpy())).double()
    assert ((ours * weighted.sum(1)).sum((1, 2)) > 0).all()
    sign = (ours * theirs).sum((1, 2), keepdim=True).sign()
    assert relative(ours, sign * theirs) < 1e-5


@pytest.mark.parametrize("shape", [(2, 7, 5, 4), (2, 30, 5, 4)], ids=["fewer channels", "fewer places"])
@pytest.mark.parametrize("scale", [1, 1e-30])
def test_the_singular_component_is_numpys(shape: tuple[int, ...], scale: float) -> None:
    """Also where the first two singular values are within 1 in 1000, and where a square would underflow."""
    batch, channels, height, width = shape
    places = torch.randn(batch, height * width, channels, dtype=torch.float64)
    left, values, right = torch.linalg.svd(places, full_matrices=False)
    values[:, :2] = values[:, :1] * torch.tensor([1, 0.999])
    places = scale * (left * values[:, None]) @ right
    expected = (places @ right[:, :1].mT).mT.unflatten(2, (height, width))[:, 0]
    ours = singular_component(places.mT.unflatten(2, (height, width)), towards=-expected)
    assert relative(ours, -expected) < 1e-9


def test_components_of_nothing_and_of_what_is_not_finite() -> None:
    channels = torch.stack([torch.zeros(3, 4, 4), torch.full((3, 4, 4), 0.1), torch.full((3, 4, 4), torch.nan)])
    zero, constant, broken = principal_component(channels)
    assert not zero.any()
    assert (constant == constant[0, 0]).all()
    assert broken.isnan().all()


def test_hires_cam_is_grad_cam_before_global_average_pooling(images: Tensor) -> None:
    maps = xai.Engine(settled(SmallCNN())).explain(images, ["hires-cam", "grad-cam"])
    torch.testing.assert_close(maps["hires-cam"].raw, maps["grad-cam"].raw)


@pytest.mark.parametrize("method", ["element-wise-cam", "grad-cam++", "hires-cam", "layer-cam", "xgrad-cam"])
def test_a_target_that_nothing_speaks_for_gives_an_empty_map(images: Tensor, method: str) -> None:
    model = settled(SmallCNN())
    with torch.no_grad():
        model.head.weight[2] = -model.head.weight[2].abs()
    with pytest.warns(ConstantMapWarning, match="no evidence"):
        maps = xai.Engine(model).explain(images, method, target=2)[method]
    assert maps.constant.all()
    assert not maps.values.any()
    assert not maps.raw.any()


@pytest.mark.parametrize("method", REPLICAS)
def test_activations_that_are_zero_give_an_empty_map(images: Tensor, method: str) -> None:
    model = settled(SmallCNN())
    with torch.no_grad():
        model.last[1].bias.fill_(-100)
    with pytest.warns(ConstantMapWarning, match="no evidence"):
        maps = xai.Engine(model).explain(images, method)[method]
    assert maps.constant.all()
    assert not maps.values.any()
    assert not maps.raw.any()


@pytest.mark.parametrize("method", ["eigen-cam", "fem"])
def test_methods_that_need_neither_target_nor_gradient(images: Tensor, method: str) -> None:
    engine, explainer = xai.Engine(settled(SmallCNN())), xai.create_explainer(method)
    assert not explainer.needs(engine.adapter(images)).gradients
    assert not explainer.targeted
    one, other = (engine.explain(images, method, target=target)[method] for target in (0, 1))
    assert torch.equal(one.raw, other.raw)


def test_the_option_of_fem(images: Tensor) -> None:
    case = Case(SmallCNN, "last", images)
    (ours,) = xai.Engine(case.model).explain(images, "fem:k=1.5,layer=last").values()
    expected = torch.stack([torch.from_numpy(fem(one, one, k=1.5)) for one in case.activation.numpy()])
    assert relative(ours.raw, expected) < 1e-5
    with pytest.raises(OptionError, match="k must be a number"):
        xai.create_explainer("fem:k=0")


def test_several_layers_are_averaged_at_the_finest_grid(images: Tensor) -> None:
    """Each layer's map is normalized to [0,1] and resized, and their mean is the map."""
    maps = []
    for layer in ("stem", "last"):
        case = Case(SmallCNN, layer, images)
        one = (case.gradient.mean((2, 3), keepdim=True) * case.activation).sum(1).relu()
        low, high = one.amin((1, 2), keepdim=True), one.amax((1, 2), keepdim=True)
        maps.append(interpolate(((one - low) / (high - low))[:, None], (16, 16), mode="bilinear")[:, 0])
    engine, expected = xai.Engine(case.model), (maps[0] + maps[1]) / 2
    for given in (xai.create_explainer("grad-cam", layer=["stem", "last"]), "grad-cam:layer=stem+last"):
        (ours,) = engine.explain(images, given).values()
        assert relative(ours.raw, expected) < 1e-5
