"""Gates: what is found to be one, and the two explainers, against hooks on plain models and replicas of the papers."""

import copy
import functools
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torch.nn.functional as F
from timm.layers import GatedMlp
from timm.models.mlp_mixer import MlpMixer, SpatialGatingBlock
from torch import Tensor, nn
from torchvision import models

import xai_core as xai
from support.explaining import captured_by
from support.models import GatedCNN, SmallCNN, settled, torchvision_vit
from xai_core.errors import LayerError, NotCapturedError, UnsuitableError

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
METHODS = ["spatial-attention", "channel-attention"]


def found(model: nn.Module, images: Tensor = IMAGES) -> list[tuple[str, str]]:
    """Where the gates of a model are, and over what."""
    gates = xai.Engine(model.eval()).adapter(images).probe.gates
    return [(gate.layer, "channels " * gate.over_channels + "places" * gate.over_locations) for gate in gates]


def explain(model: nn.Module, method: str, images: Tensor = IMAGES, **options: Any) -> xai.Saliency:
    engine = xai.Engine(model)
    target = (lambda output: output.mean((1, 2, 3))) if isinstance(model, smp.Unet) else None
    return engine.explain(images, xai.create_explainer(method, **options), target=target)[method]


def calls(model: nn.Module, images: Tensor = IMAGES) -> dict[str, tuple[Tensor, Tensor]]:
    """Every module's first input and output in float64, by name, in order of the calls' ends; a plain eager run."""
    kept: dict[str, tuple[Tensor, Tensor]] = {}
    plain = copy.deepcopy(model).double().eval()
    for name, module in plain.named_modules():
        if hasattr(module, "inplace"):
            module.inplace = False

        def keep(module: nn.Module, args: tuple[Any, ...], output: Any, name: str = name) -> None:
            if args and isinstance(args[0], Tensor) and isinstance(output, Tensor):
                kept[name] = args[0].clone(), output.clone()

        module.register_forward_hook(keep)
    with torch.no_grad():
        plain(images.double())
    return kept


def assert_weighs(saliency: xai.Saliency, features: Tensor, gate: Tensor) -> None:
    """The map is the sum of the features' channels times the gate's, and the weights are the gate's."""
    weights = gate.flatten(2).mean(2)
    each = torch.stack([sum(w * f for w, f in zip(*pair, strict=True)) for pair in zip(weights, features, strict=True)])
    scale = each.abs().amax()
    torch.testing.assert_close(saliency.raw / scale, (each / scale).float(), atol=1e-5, rtol=1e-5)
    assert saliency.weights is not None
    torch.testing.assert_close(saliency.weights.float(), weights.float(), atol=1e-5, rtol=1e-5)


def convolved(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A convolution of a plain model with its weights in float64."""
    bias = None if conv.bias is None else conv.bias.detach().double()
    return F.conv2d(x, conv.weight.detach().double(), bias, padding=conv.padding, dilation=conv.dilation)


def sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + (-x).exp())


def cbam(module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """M_c(F), and M_s(F') with F' = M_c(F) F (Woo et al., eq. 1 to 3)."""
    first, _, second = module.channel.mlp
    pooled = [x.mean((2, 3), keepdim=True), x.flatten(2).max(2).values[..., None, None]]
    channel = sigmoid(sum(convolved(second, convolved(first, one).clamp(min=0)) for one in pooled))
    x = channel * x
    both = torch.stack([x.mean(1), x.max(1).values], 1)
    return channel, sigmoid(convolved(module.spatial.conv, both))


def bam(module: nn.Module, x: Tensor) -> Tensor:
    """M(F) = sigmoid(M_c(F) + M_s(F)) (Park et al., eq. 2 to 4)."""

    def through(layers: nn.Sequential, x: Tensor) -> Tensor:
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                x = convolved(layer, x)
            elif isinstance(layer, nn.BatchNorm2d):
                mean, var, weight, bias = (
                    one.detach().double()[:, None, None]
                    for one in (layer.running_mean, layer.running_var, layer.weight, layer.bias)
                )
                x = (x - mean) / (var + layer.eps).sqrt() * weight + bias
            else:
                x = x.clamp(min=0) if isinstance(layer, nn.ReLU) else x.mean((2, 3), keepdim=True)
        return x

    return sigmoid(through(module.channel, x) + through(module.spatial, x))


def squeeze_excitation(module: nn.Module, x: Tensor) -> Tensor:
    """s = sigma(W2 delta(W1 z)), z the mean over places (Hu et al., eq. 2 and 3)."""
    hidden = module.activation(convolved(module.fc1, x.mean((2, 3), keepdim=True)))
    logits = convolved(module.fc2, hidden)
    hard = isinstance(module.scale_activation, nn.Hardsigmoid)
    return (logits / 6 + 0.5).clamp(0, 1) if hard else sigmoid(logits)


@pytest.mark.parametrize("stage", [None, "1"])
def test_cbam_equals_its_replica(stage: str | None) -> None:
    model = settled(xai.load_model("resnet-cbam:num_classes=5").model)
    place = f"layer{stage or 4}.1"
    options = {"layer": place} if stage else {}
    features, _ = calls(model)[place]
    channel, spatial = cbam(model.get_submodule(place), features)
    torch.testing.assert_close(
        explain(model, "spatial-attention", **options).raw, spatial[:, 0].float(), atol=1e-5, rtol=1e-5
    )
    assert_weighs(explain(model, "channel-attention", **options), features, channel)


@pytest.mark.parametrize("stage", [None, "1"])
def test_bam_equals_its_replica(stage: str | None) -> None:
    """BAM multiplies by 1 + M(F); what is multiplied by is the gate."""
    model = settled(xai.load_model("resnet-bam:num_classes=5").model)
    place = f"layer{stage or 3}.1"
    features, _ = calls(model)[place]
    gate = 1 + bam(model.get_submodule(place), features)
    options = {"layer": place} if stage else {}
    spatial = explain(model, "spatial-attention", **options)
    torch.testing.assert_close(spatial.raw, gate.mean(1).float(), atol=1e-5, rtol=1e-5)
    assert_weighs(explain(model, "channel-attention", **options), features, gate)


TORCHVISION = {name: getattr(models, name) for name in ("mobilenet_v3_small", "efficientnet_b0", "regnet_y_400mf")}


@pytest.mark.parametrize("name", TORCHVISION)
def test_squeeze_and_excitation_of_torchvision(name: str) -> None:
    """Every block with more than one place is found, in order, and the first and last give their replica's map."""
    model = settled(TORCHVISION[name](num_classes=5))
    kinds = {name: type(module).__name__ for name, module in model.named_modules()}
    seen = calls(model)
    expected = [n for n, (given, _) in seen.items() if kinds[n] == "SqueezeExcitation" and given[0, 0].numel() > 1]
    assert len(expected) >= 6
    assert found(model) == [(name, "channels ") for name in expected]
    for layer in (None, expected[0]):
        place = layer or expected[-1]
        gate = squeeze_excitation(model.get_submodule(place), seen[place][0])
        assert_weighs(explain(model, "channel-attention", layer=layer), seen[place][0], gate)


# How many gates a block of timm's has, over what, and the names of the modules that give them, where there are any.
TIMM = {
    "se": (["channels "], ["gate"]),
    "ese": (["channels "], ["gate"]),
    "eca": (["channels "], ["gate"]),
    "ceca": (["channels "], ["gate"]),
    "gc": (["channels "], ["gate"]),
    "cbam": (["channels ", "places"], ["channel.gate", "spatial.gate"]),
    "lcbam": (["channels ", "places"], ["", "spatial.gate"]),
    "coord": (["channels places", "channels places"], ["", ""]),
    "scoord": (["channels places"], [""]),
}


@pytest.mark.parametrize("attention", TIMM)
def test_attention_of_timm(attention: str) -> None:
    block: dict[str, Any] = {"attn_layer": attention}
    model = settled(timm.create_model("resnet10t", channels=(32, 32, 64, 64), num_classes=5, block_args=block))
    kinds, modules = TIMM[attention]
    gates = found(model)
    assert [kind for _, kind in gates] == kinds * 4
    last = [name for name, _ in model.named_modules() if name.endswith(".se")][-1]
    assert all(layer.startswith(last) for layer, _ in gates[-len(kinds) :])
    seen = calls(model)
    for kind, name in zip(kinds, modules, strict=True):
        if not name:
            continue
        owner = f"{last}.{name}".rpartition(".")[0]
        features, gate = seen[owner][0], seen[f"{last}.{name}"][1]
        if kind == "places":
            raw = explain(model, "spatial-attention", layer=last).raw
            torch.testing.assert_close(raw, gate[:, 0].float(), atol=1e-5, rtol=1e-5)
        else:
            gate = gate.reshape(len(features), -1, 1, 1)
            assert_weighs(explain(model, "channel-attention", layer=last), features, gate)


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "legacy_seresnet18"])
def test_models_of_timm_with_squeeze_and_excitation(name: str) -> None:
    model = settled(timm.create_model(name, num_classes=5))
    seen = calls(model)
    blocks = ("SEModule", "SqueezeExcite")
    kinds = {name: type(module).__name__ for name, module in model.named_modules()}
    expected = [n for n, (given, _) in seen.items() if kinds[n] in blocks and given[0, 0].numel() > 1]
    assert len(expected) >= 8
    assert found(model) == [(name, "channels ") for name in expected]


def test_scse_of_a_decoder() -> None:
    """Two gates on the same features: x cSE(x) + x sSE(x)."""
    net = smp.Unet("resnet18", 3, None, decoder_channels=(64, 32, 16), decoder_attention_type="scse", classes=3)
    model, images = settled(net).double(), IMAGES[:, :, :32, :32].double()
    seen = calls(model, images)
    blocks = [name.removesuffix(".cSE") for name in seen if name.endswith(".cSE") and seen[name][0][0, 0].numel() > 1]
    assert found(model, images) == [(name, kind) for name in blocks for kind in ("channels ", "places")]
    for layer in ("", "decoder.blocks.1"):
        place = [name for name in blocks if name.startswith(layer)][-1]
        features, gate = seen[f"{place}.cSE"]
        assert_weighs(explain(model, "channel-attention", images, layer=layer), features, gate)
        spatial = explain(model, "spatial-attention", images, layer=layer).raw
        torch.testing.assert_close(spatial, seen[f"{place}.sSE"][1][:, 0].float(), atol=1e-5, rtol=1e-5)


class Gating(nn.Module):
    """A CNN whose features go through a function of the module's, which has layers for gates of each kind."""

    def __init__(self, gate: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8))
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1))
        self.places, self.both = nn.Conv2d(8, 1, 3, 1, 1), nn.Conv2d(8, 8, 3, 1, 1)
        self.scale = nn.Parameter(torch.randn(8, 1, 1))
        self.last, self.head = nn.Conv2d(8, 8, 3, 2, 1), nn.Linear(8, 5)
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.gate(self, self.stem(x)))
        return self.head(x.relu().mean((2, 3)))


def later_overwritten(m: Any, x: Tensor) -> Tensor:
    gate = torch.sigmoid(m.places(x))
    y = x * gate
    with torch.no_grad():
        gate.zero_()
        x.zero_()
    return y


GATES: dict[str, tuple[Callable[[Any, Tensor], Tensor], Callable[[Any, Tensor], Tensor]]] = {
    "in place": (lambda m, x: x.mul_(m.pooled(x).sigmoid()), lambda m, x: sigmoid(m.pooled(x))),
    "operator in place": (lambda m, x: x.__imul__(m.places(x).sigmoid_()), lambda m, x: sigmoid(m.places(x))),
    "gate first": (lambda m, x: torch.sigmoid(m.places(x)) * x, lambda m, x: sigmoid(m.places(x))),
    "by keyword": (lambda m, x: torch.mul(x, other=m.pooled(x).sigmoid()), lambda m, x: sigmoid(m.pooled(x))),
    "multiply": (lambda m, x: torch.multiply(x, m.places(x).sigmoid()), lambda m, x: sigmoid(m.places(x))),
    "expanded": (lambda m, x: x * m.pooled(x).sigmoid().expand_as(x), lambda m, x: sigmoid(m.pooled(x))),
    "expanded over channels": (
        lambda m, x: x * m.places(x).sigmoid().expand_as(x),
        lambda m, x: sigmoid(m.places(x)),
    ),
    "from a vector": (
        lambda m, x: x * m.pooled(x).flatten(1).sigmoid().view(-1, 8, 1, 1),
        lambda m, x: sigmoid(m.pooled(x)),
    ),
    "residual": (lambda m, x: x + x * m.both(x).sigmoid(), lambda m, x: sigmoid(m.both(x))),
    "one plus tanh": (lambda m, x: x * (m.both(x).tanh() + 1), lambda m, x: m.both(x).tanh() + 1),
    "hard": (lambda m, x: x * F.hardsigmoid(m.pooled(x)), lambda m, x: (m.pooled(x) / 6 + 0.5).clamp(0, 1)),
    "by hand": (lambda m, x: x * (F.relu6(m.pooled(x) + 3) / 6), lambda m, x: (m.pooled(x) / 6 + 0.5).clamp(0, 1)),
    "clamped": (lambda m, x: x * (m.places(x) + 0.5).clamp(0, 1), lambda m, x: (m.places(x) + 0.5).clamp(0, 1)),
    "softmax": (
        lambda m, x: x * m.places(x).flatten(2).softmax(2).view(-1, 1, *x.shape[2:]) * x[0, 0].numel(),
        lambda m, x: m.places(x).exp() / m.places(x).exp().sum((2, 3), keepdim=True),
    ),
    "halves": (
        lambda m, x: x * (2 * (m.places(x[:, :]).sigmoid() - 0.5)).to(x.dtype),
        lambda m, x: 2 * sigmoid(m.places(x)) - 1,
    ),
    "of two gates": (
        lambda m, x: x * (m.pooled(x).sigmoid() * m.places(x).sigmoid()),
        lambda m, x: sigmoid(m.pooled(x)) * sigmoid(m.places(x)),
    ),
    "interpolated": (
        lambda m, x: x * F.interpolate(m.places(F.avg_pool2d(x, 2)).sigmoid(), scale_factor=2),
        lambda m, x: sigmoid(m.places(F.avg_pool2d(x, 2))).repeat_interleave(2, 2).repeat_interleave(2, 3),
    ),
    "later overwritten": (later_overwritten, lambda m, x: sigmoid(m.places(x))),
}


@pytest.mark.parametrize("name", GATES)
def test_ways_of_writing_a_gate(name: str, images: Tensor) -> None:
    gate, replica = GATES[name]
    model = settled(Gating(gate))
    features = calls(model, images)["stem"][1]
    with torch.no_grad():
        expected = replica(copy.deepcopy(model).double(), features)
    [kind] = [kind for _, kind in found(model, images)]
    if "channels" in kind:
        assert_weighs(explain(model, "channel-attention", images), features, expected)
    if "places" in kind:
        mean = expected.mean(1).float()
        torch.testing.assert_close(explain(model, "spatial-attention", images).raw, mean, atol=1e-5, rtol=1e-5)
    assert kind == "channels " * (expected.shape[1] > 1) + "places" * (expected.shape[2] > 1)


def test_gates_side_by_side_are_gates_in_turn(images: Tensor) -> None:
    """x * gc(x) * gs(x): the second gate was made of x, and what it multiplies is x * gc(x)."""
    model = settled(Gating(lambda m, x: x * m.pooled(x).sigmoid() * m.places(x).sigmoid()))
    assert found(model, images) == [("", "channels "), ("", "places")]


NO_GATES: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "swish": lambda m, x: x * x.sigmoid(),
    "swish with a weight": lambda m, x: x * (m.scale * x).sigmoid(),
    "mish": lambda m, x: x * F.softplus(x).tanh(),
    "gelu": lambda m, x: 0.5 * x * (1 + (math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)).tanh()),
    "hard swish": lambda m, x: x * (F.relu6(x + 3) / 6),
    "layer scale": lambda m, x: x * m.scale,
    "bounded layer scale": lambda m, x: x * m.scale.sigmoid()[None],
    "mask": lambda m, x: x * (torch.arange(x[0, 0].numel()) % 2).view(1, 1, *x.shape[2:]),
    "unbounded": lambda m, x: x * m.places(x),
    "bounded below": lambda m, x: x * m.places(x).clamp(min=0),
    "gated linear unit": lambda m, x: torch.cat([(h := m.both(x).chunk(2, 1))[0] * h[1].sigmoid(), x[:, :4]], 1),
    "other features": lambda m, x: m.both(x) * m.last(F.interpolate(x, scale_factor=2)).sigmoid(),
    "normalized": lambda m, x: x * x.square().mean(1, keepdim=True).clamp(min=1e-6).rsqrt(),
    "one number": lambda m, x: x * m.places(x).mean((2, 3), keepdim=True).sigmoid(),
}


@pytest.mark.parametrize("name", NO_GATES)
def test_other_multiplications_are_not_gates(name: str, images: Tensor) -> None:
    assert found(settled(Gating(NO_GATES[name])), images) == []


WITHOUT = {
    "resnet": lambda: models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1]),
    "densenet": lambda: models.DenseNet(8, (2, 2), 8),
    "mobilenet_v2": models.mobilenet_v2,
    "vit": torchvision_vit,
    "convnext with layer scale": lambda: timm.create_model(
        "convnext_atto", depths=(1, 1, 1, 1), dims=(8, 16, 24, 32), ls_init_value=0.1
    ),
    "swin": lambda: timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=32, window_size=4, embed_dim=24, depths=(1, 1, 1, 1)
    ),
    "gmlp": lambda: MlpMixer(
        img_size=32, num_blocks=2, embed_dim=32, mlp_ratio=6, block_layer=SpatialGatingBlock, mlp_layer=GatedMlp
    ),
    "starnet": lambda: timm.create_model("starnet_s050"),
}


@pytest.mark.parametrize("name", WITHOUT)
def test_models_without_gates_are_refused(name: str, images: Tensor) -> None:
    model = WITHOUT[name]().eval()
    assert found(model, images) == []
    for method in METHODS:
        with pytest.raises(UnsuitableError, match="grad-cam"):
            explain(model, method, images)


def test_a_model_with_channel_gates_only_has_no_spatial_attention(images: Tensor) -> None:
    model = settled(Gating(lambda m, x: x * m.pooled(x).sigmoid()))
    with pytest.raises(UnsuitableError, match=r"weights the locations.*use channel-attention"):
        explain(model, "spatial-attention", images)


def test_a_layer_is_chosen_by_name_by_a_name_around_it_or_as_a_module(images: Tensor) -> None:
    model = settled(xai.load_model("resnet-cbam:num_classes=5,stages=1+2").model)
    last, first = (explain(model, "spatial-attention", images, layer=layer).raw for layer in (None, "layer1.1"))
    assert first.shape != last.shape
    for layer in ("layer1", model.layer1, model.layer1[1]):
        assert torch.equal(explain(model, "spatial-attention", images, layer=layer).raw, first)
    for layer in ("layer2", "", model):
        assert torch.equal(explain(model, "spatial-attention", images, layer=layer).raw, last)


@functools.cache
def of_two_stages() -> xai.Engine:
    return xai.Engine(xai.load_model("resnet-cbam:num_classes=5,stages=1+2").model)


@pytest.mark.parametrize("layer", ["layer3", "layer", "layer1.10", "nonsense", 7])
@pytest.mark.parametrize("method", METHODS)
def test_a_wrong_name_is_told_where_the_gates_are(method: str, layer: str | int, images: Tensor) -> None:
    with pytest.raises(LayerError, match=r"layer1\.1, layer2\.1"):
        of_two_stages().explain(images, xai.create_explainer(method, layer=layer))


def test_a_module_of_another_model_is_refused(images: Tensor) -> None:
    with pytest.raises(LayerError, match="not part of this model"):
        explain(GatedCNN().eval(), "spatial-attention", images, layer=SmallCNN())


def test_weights_are_of_each_target(images: Tensor) -> None:
    model = settled(GatedCNN())
    one = xai.Engine(model).explain(images, "channel-attention", target=0)["channel-attention"]
    several = xai.Engine(model).explain(images, "channel-attention", target=[[0, 1]] * 3)["channel-attention"]
    assert one.weights is not None
    assert several.weights is not None
    assert several.weights.shape == (3, 2, 8)
    for saliency in several.each:
        assert saliency.weights is not None
        assert torch.equal(saliency.weights, one.weights)
    assert xai.Engine(model).explain(images, "spatial-attention")["spatial-attention"].weights is None


def test_gates_that_were_not_declared_are_not_kept(images: Tensor) -> None:
    model = settled(GatedCNN())
    with pytest.raises(NotCapturedError, match="gates"):
        _ = captured_by(model, images, xai.Needs(activations=("stem",))).gates
    everything = xai.Engine(model).adapter(images).probe.gates
    captured = captured_by(model, images, xai.Needs(gates=everything))
    assert [list(gated.values.shape[1:]) for gated in captured.gates] == [[8, 1, 1], [1, 16, 16]]
    for earlier, later in pairwise(captured.gates):
        torch.testing.assert_close((earlier.features * earlier.values).relu(), later.features)


def test_gates_beside_gradients_and_attention() -> None:
    """What else the pass keeps does not move them."""
    model = settled(timm.create_model("gcvit_xxtiny", img_size=64, embed_dim=16, num_classes=5))
    alone, engine = explain(model, "channel-attention"), xai.Engine(model)
    needs = xai.Needs(attention=True, attention_gradients=True, image_gradient=True)
    captured = captured_by(model, IMAGES, xai.Needs(gates=engine.adapter(IMAGES).probe.gates[-1:], parts=(needs,)))
    assert alone.weights is not None
    torch.testing.assert_close(captured.gates[0].values.flatten(1), alone.weights)


def test_a_forward_that_depends_on_the_batch_is_an_error(images: Tensor) -> None:
    model = settled(Gating(lambda m, x: x * m.pooled(x).sigmoid() if len(x) == 1 else x))
    with pytest.raises(LayerError, match="ran differently on this batch"):
        explain(model, "channel-attention", images)


def test_a_graph_that_the_model_breaks_does_no_harm(images: Tensor) -> None:
    def written_over(m: Any, x: Tensor) -> Tensor:
        return x * m.both(x).sigmoid().mul_(2)

    model = settled(Gating(written_over))
    assert found(model, images) == []
    assert explain(model, "eigen-cam", images).raw.shape == (3, 8, 8)
