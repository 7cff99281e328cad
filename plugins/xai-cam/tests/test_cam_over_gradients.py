"""CAM, FullGrad, Shapley-CAM and Finer-CAM against loops in float64 that follow their papers, and against peers."""

import copy
from collections.abc import Callable

import pytest
import pytorch_grad_cam
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import xai_core as xai
from support.explaining import captured_by
from support.models import SmallCNN, fused_vit, settled
from support.references import Reference, by_peer, relative, resized
from xai_cam.full_grad import biases
from xai_core.errors import OptionError, TargetError, UnsuitableError
from xai_core.plugin import TargetLike


class SmoothCNN(nn.Module):
    """A CNN whose Hessian is not zero: a smooth activation after the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Conv2d(3, 6, 3, 4, 1), nn.Softplus())
        self.more = nn.Sequential(nn.Conv2d(6, 7, 3, 2, 1), nn.Softplus())
        self.head = nn.Linear(7, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.more(self.layer(x)).mean((2, 3)))


CASES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "cnn": (SmallCNN, "last"),
    "cnn, a fine layer": (SmallCNN, "stem"),
    "smooth cnn": (SmoothCNN, "layer"),
    "vit": (fused_vit, "blocks.2.norm1"),
}


def explain(model: nn.Module, images: Tensor, method: str, target: TargetLike = None) -> xai.Saliency:
    (saliency,) = xai.Engine(model).explain(images, method, target).values()
    return saliency


def pooled_vit() -> nn.Module:
    """Tokens without a class token, whose mean goes to a linear head."""
    return fused_vit(class_token=False, global_pool="avg", fc_norm=False)


# CAM


@pytest.mark.parametrize("make", [SmallCNN, pooled_vit])
@pytest.mark.parametrize("target", [None, 2])
def test_cam_is_eq_2(images: Tensor, make: Callable[[], nn.Module], target: int | None) -> None:
    """M_c(x, y) = sum_k w_k^c f_k(x, y), whose mean is the logit without its bias (eq. 1)."""
    model = settled(make()).double()
    tokens = not isinstance(model, SmallCNN)
    kept: list[Tensor] = []
    layer = model.norm if tokens else model.last
    handle = layer.register_forward_hook(lambda _, __, output: kept.append(output.detach().clone()))
    scores = model(images.double())
    handle.remove()
    activation = kept[0].mT.unflatten(2, (4, 4)) if tokens else kept[0]
    expected = []
    for features, logits in zip(activation, scores, strict=True):
        c = int(logits.argmax()) if target is None else target
        summed = torch.zeros_like(features[0])
        for k, channel in enumerate(features):
            summed += model.head.weight[c, k].detach() * channel
        torch.testing.assert_close(summed.mean(), logits[c].detach() - model.head.bias[c].detach())
        expected.append(summed)
    assert relative(explain(model, images.double(), "cam", target).raw, torch.stack(expected)) < 1e-5


def test_cam_is_grad_cam_without_its_scale_and_relu(images: Tensor) -> None:
    model = settled(SmallCNN())
    maps = xai.Engine(model).explain(images, ["cam", "grad-cam"], torch.tensor([[0, 1], [2, 3], [4, 0]]))
    torch.testing.assert_close(maps["cam"].raw.relu(), maps["grad-cam"].raw * 64, atol=1e-5, rtol=1e-5)


class Squashed(SmallCNN):
    """What its head gives is not its output."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).tanh()


@pytest.mark.parametrize("make", [fused_vit, Squashed])
def test_cam_is_refused_where_the_head_is_another(images: Tensor, make: Callable[[], nn.Module]) -> None:
    with pytest.raises(UnsuitableError, match="Use grad-cam"):
        explain(settled(make()), images, "cam")


def test_cam_is_of_classes(images: Tensor) -> None:
    with pytest.raises(TargetError, match="classes only"):
        explain(settled(SmallCNN()), images, "cam", lambda output: output[:, 0])


# FullGrad


def bias_of(module: nn.Module) -> Tensor | None:
    """The constant of an affine layer: a convolution's bias, or batch norm's beta - mu gamma / sqrt(var + eps)."""
    if isinstance(module, nn.Conv2d):
        return None if module.bias is None else module.bias.detach()
    if isinstance(module, nn.BatchNorm2d):
        return (module.bias - module.running_mean * module.weight / (module.running_var + module.eps).sqrt()).detach()
    return None


def full_gradients(model: nn.Module, images: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
    """Eq. 3: the input's part df/dx * x, the parts df/dz * b of all layers with biases, and the scores f."""
    leaves, constants, handles = [images.clone().requires_grad_()], [], []

    def keep(module: nn.Module, _: object, output: Tensor) -> Tensor:
        leaves.append(output)
        constants.append(bias_of(module))
        return output.clone()

    for module in model.modules():
        if bias_of(module) is not None:
            handles.append(module.register_forward_hook(keep))
    scores = model(leaves[0].clone()).amax(1)
    for handle in handles:
        handle.remove()
    at_images, *at_layers = torch.autograd.grad(scores.sum(), leaves)
    parts = [gradient * b[:, None, None] for gradient, b in zip(at_layers, constants, strict=True)]
    return at_images * images, parts, scores.detach()


def full_grad(model: nn.Module, images: Tensor) -> Tensor:
    """Eq. 4: the sum of psi of each part over layers and channels; psi is the magnitude, rescaled and resized."""
    at_images, parts, _ = full_gradients(model, images)
    maps = torch.zeros(len(images), *images.shape[2:], dtype=torch.float64)
    for part in (at_images, *parts):
        for i, contributions in enumerate(part.abs()):
            contributions = (contributions - contributions.min()) / (contributions.max() - contributions.min())
            for channel in contributions:
                maps[i] += resized(channel[None], (images.shape[2], images.shape[3]))[0]
    return maps


@pytest.mark.parametrize("make", [SmallCNN, SmoothCNN])
def test_full_grad_is_eq_4(images: Tensor, make: Callable[[], nn.Module]) -> None:
    model = settled(make())
    expected = full_grad(copy.deepcopy(model).double(), images.double())
    assert relative(explain(model, images, "full-grad").raw, expected) < 1e-5


def test_full_gradients_add_up_to_the_score(images: Tensor) -> None:
    """Eq. 3, for a piecewise linear network: what the engine captured, and the bias of the head."""
    model, images = settled(SmallCNN()).double(), images.double()
    adapter = xai.Engine(model).adapter(images)
    captured = captured_by(model, images, xai.create_explainer("full-grad").needs(adapter))
    total = (captured.image_gradient * images).sum((1, 2, 3))
    found = biases(adapter)
    assert list(found) == ["stem.0", "stem.1", "body.0", "body.1", "last.0", "last.1"]
    for layer, bias in found.items():
        total += (captured.gradient(layer) * bias[:, None, None]).sum((1, 2, 3))
    scores, classes = model(images).detach().max(1)
    torch.testing.assert_close(total + model.head.bias.detach()[classes], scores, atol=1e-10, rtol=1e-10)


def test_full_grad_rescales_layers_where_pytorch_grad_cam_rescales_channels(images: Tensor) -> None:
    model = settled(SmallCNN())
    ours = explain(model, images, "full-grad").values
    theirs = by_peer(pytorch_grad_cam.FullGrad, model, "", images)
    difference = (ours - theirs).abs().amax((1, 2))
    correlation = torch.stack([torch.corrcoef(pair)[0, 1] for pair in torch.stack([ours, theirs], 1).flatten(2)])
    assert difference.amin() > 0.25
    assert correlation.amin() > 0.75


def test_full_grad_is_for_convolutional_networks(images: Tensor) -> None:
    with pytest.raises(UnsuitableError, match="use grad-cam"):
        explain(settled(fused_vit()), images, "full-grad")


# Shapley-CAM


def shapley_cam(reference: Reference, i: int) -> Tensor:
    """The weights are means of g - H A / 2, with the Hessian H written out."""
    target = reference.target[i]

    def score(output: Tensor) -> Tensor:
        handle = reference.layer.register_forward_hook(lambda *_: output[None])
        value = reference.model(reference.images[i : i + 1])[0, target]
        handle.remove()
        return value

    output = reference.leaf[i].detach()
    with sdpa_kernel(SDPBackend.MATH):
        hessian = torch.autograd.functional.hessian(score, output, vectorize=True)
        gradient = torch.autograd.functional.jacobian(score, output)
    size = output.numel()
    values = gradient - (hessian.reshape(size, size) @ output.flatten()).view_as(output) / 2
    values, activation = reference.spatial(values[None])[0], reference.activation[i]
    return sum(v.mean() * channel for v, channel in zip(values, activation, strict=True)).relu()


@pytest.mark.parametrize("case", ["cnn", "smooth cnn", "vit"])
def test_shapley_cam_equals_its_replica(images: Tensor, case: str) -> None:
    make, layer = CASES[case]
    model = settled(make())
    reference = Reference(model, layer, images[:2])
    expected = torch.stack([shapley_cam(reference, i) for i in range(2)])
    assert relative(explain(model, images[:2], f"shapley-cam:layer={layer}").raw, expected) < 1e-5


def test_shapley_cam_is_pytorch_grad_cams(images: Tensor) -> None:
    """On feature maps; of tokens, theirs makes none. The second-order term matters here."""
    model = settled(SmoothCNN())
    ours = explain(model, images, "shapley-cam:layer=layer").values
    theirs = by_peer(pytorch_grad_cam.ShapleyCAM, model, "layer", images)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    first_order = explain(model, images, "grad-cam:layer=layer").values
    assert (ours - first_order).abs().amax((1, 2)).amin() > 0.1


def test_shapley_cam_is_grad_cam_where_the_rest_is_linear(images: Tensor) -> None:
    maps = xai.Engine(settled(SmallCNN())).explain(images, ["shapley-cam", "grad-cam"])
    torch.testing.assert_close(maps["shapley-cam"].raw, maps["grad-cam"].raw)


def test_shapley_cam_of_several_targets(images: Tensor) -> None:
    engine, targets = xai.Engine(settled(fused_vit())), torch.tensor([[0, 1], [4, 2], [3, 3]])
    ours = engine.explain(images, "shapley-cam", targets)["shapley-cam"]
    for t in range(2):
        expected = engine.explain(images, "shapley-cam", targets[:, t])["shapley-cam"]
        torch.testing.assert_close(ours.raw[:, t], expected.raw)


# Finer-CAM


def finer_cam(reference: Reference, i: int, gamma: float, others: list[int]) -> Tensor:
    """Weights alpha_k^c - gamma / m sum_d alpha_k^d, with alpha_k^c the mean gradient of the logit of c."""
    activation = reference.activation[i]
    batch = len(reference.images)
    own = reference.gradient([reference.target[i]] * batch)[i]
    theirs = [reference.gradient([d] * batch)[i] for d in others]
    summed = torch.zeros_like(activation[0])
    for k, channel in enumerate(activation):
        weight = own[k].mean() - gamma / len(others) * sum(gradient[k].mean() for gradient in theirs)
        summed += weight * channel
    return summed.relu()


def runners_up(reference: Reference, i: int, count: int) -> list[int]:
    return sorted(range(5), key=lambda c: -reference.scores[i, c].item())[1 : 1 + count]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("options", "gamma", "count"), [("", 1, 3), (",gamma=0.6,negatives=1", 0.6, 1)])
def test_finer_cam_equals_its_replica(images: Tensor, case: str, options: str, gamma: float, count: int) -> None:
    make, layer = CASES[case]
    model = settled(make())
    reference = Reference(model, layer, images)
    expected = torch.stack([finer_cam(reference, i, gamma, runners_up(reference, i, count)) for i in range(3)])
    assert relative(explain(model, images, f"finer-cam:layer={layer}{options}").raw, expected) < 1e-5


def test_finer_cam_with_classes_named(images: Tensor) -> None:
    model = settled(SmallCNN())
    reference = Reference(model, "last", images)
    reference.target = [2, 2, 2]
    expected = torch.stack([finer_cam(reference, i, 1, [0, 4]) for i in range(3)])
    for given in ("finer-cam:negatives=0+4", xai.create_explainer("finer-cam", negatives=[0, 4])):
        (ours,) = xai.Engine(model).explain(images, given, target=2).values()
        assert relative(ours.raw, expected) < 1e-5


def test_one_class_named_is_no_number_of_classes(images: Tensor) -> None:
    model = settled(SmallCNN())
    named = xai.create_explainer("finer-cam", negatives=[2])
    assert named.spec == "finer-cam:negatives=2+"
    expected = explain(model, images, "grad-cam", xai.Contrast(1, 2)).raw
    for given in (named, named.spec):
        (ours,) = xai.Engine(model).explain(images, given, target=1).values()
        torch.testing.assert_close(ours.raw, expected, atol=1e-6, rtol=1e-4)


def test_finer_cam_is_grad_cam_of_a_difference(images: Tensor) -> None:
    engine = xai.Engine(settled(fused_vit()))
    one = engine.explain(images, "finer-cam:negatives=1")["finer-cam:negatives=1"]
    other = engine.explain(images, "grad-cam", xai.Contrast())["grad-cam"]
    torch.testing.assert_close(one.raw, other.raw, atol=1e-6, rtol=1e-4)


def test_finer_cam_over_other_bases(images: Tensor) -> None:
    """Its channels are the base's own, less the mean of those for the others."""
    engine = xai.Engine(settled(SmallCNN()))
    for base in ("score-cam", "ablation-cam", "layer-cam", "cam"):
        (ours,) = engine.explain(images, xai.create_explainer("finer-cam", base=base, gamma=0.0)).values()
        torch.testing.assert_close(ours.raw, engine.explain(images, base)[base].raw.relu())  # of which cam has none


def test_finer_cam_weighs_classes_alike_where_pytorch_grad_cam_weighs_by_probability(images: Tensor) -> None:
    """Theirs is the gradient of sum_d p_d (y_c - y_d) / sum_d p_d, through the p_d too."""
    model = settled(SmallCNN())
    ours = explain(model, images, "finer-cam").values
    theirs = by_peer(pytorch_grad_cam.FinerCAM, model, "last", images)

    def weighted(output: Tensor) -> Tensor:
        best, *others = output.topk(4, 1).values.unbind(1)
        probabilities = output.softmax(1).topk(4, 1).values.unbind(1)[1:]
        pairs = zip(probabilities, others, strict=True)
        return sum(p * (best - y) for p, y in pairs) / sum(probabilities)

    torch.testing.assert_close(explain(model, images, "grad-cam", weighted).values, theirs, atol=1e-5, rtol=0)
    assert (ours - theirs).abs().amax((1, 2)).amin() > 0.4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"negatives": 0}, "at least 1"),
        ({"negatives": []}, "at least 1"),
        ({"negatives": "a+b"}, "ids such as 3"),
        ({"negatives": -1}, "ids such as 3"),
        ({"base": "full-grad"}, "weighted channels"),
        ({"base": "eigen-cam"}, "weighted channels"),
        ({"base": xai.create_explainer("grad-cam"), "layer": "last"}, "set the layer of that object"),
    ],
)
def test_bad_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        xai.create_explainer("finer-cam", **options)


def test_a_class_is_not_compared_with_itself(images: Tensor) -> None:
    with pytest.raises(TargetError, match="also among their negatives"):
        explain(settled(SmallCNN()), images, "finer-cam:negatives=2+1", target=2)
    with pytest.raises(TargetError, match="not a class"):
        explain(settled(SmallCNN()), images, "finer-cam:negatives=2+7", target=1)
