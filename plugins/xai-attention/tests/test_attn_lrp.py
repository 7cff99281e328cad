"""AttnLRP and CP-LRP against relevance that is propagated layer by layer, by the rules of the paper."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import xai_core as xai
from support.models import Plain, fused_vit, settled
from xai_attention.propagated_norms import NORMALIZATIONS
from xai_attention.propagation_rules import PropagationRules
from xai_core.errors import UnsuitableError

CLASS, SIDE, PATCH, WIDTH, CLASSES = 1, 8, 4, 6, 3


class OneBlock(nn.Module):
    """A transformer with one block and one head, whose attention is explicit, fused or that of PyTorch's module."""

    def __init__(self, attention: str) -> None:
        super().__init__()
        self.attention = attention
        self.embed, self.norm1, self.norm2 = nn.Linear(3 * PATCH**2, WIDTH), nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.mixer = nn.MultiheadAttention(WIDTH, 1, batch_first=True)
        self.fc1, self.fc2, self.head = nn.Linear(WIDTH, 10), nn.Linear(10, WIDTH), nn.Linear(WIDTH, CLASSES)

    def projections(self) -> list[tuple[Tensor, Tensor]]:
        return [*zip(self.mixer.in_proj_weight.chunk(3), self.mixer.in_proj_bias.chunk(3), strict=True)]

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(F.unfold(x, PATCH, stride=PATCH).mT)
        normed = self.norm1(tokens)
        if self.attention == "module":
            mixed = self.mixer(normed, normed, normed)[0]
        else:
            q, k, v = (F.linear(normed, weight, bias)[:, None] for weight, bias in self.projections())
            if self.attention == "by keywords":
                mixed = F.scaled_dot_product_attention(query=q, key=k, value=v)[:, 0]
            elif self.attention == "fused":
                mixed = F.scaled_dot_product_attention(q, k, v)[:, 0]
            else:
                mixed = ((q @ k.mT / math.sqrt(WIDTH)).softmax(-1) @ v)[:, 0]
            mixed = self.mixer.out_proj(mixed)
        tokens = tokens + mixed
        tokens = tokens + self.fc2(F.gelu(input=self.fc1(self.norm2(tokens))))
        return self.head(tokens.mean(1))


def linear(relevance: Tensor, inputs: Tensor, layer: nn.Linear | tuple[Tensor, Tensor]) -> Tensor:
    """The epsilon rule of a linear layer."""
    weight, bias = layer if isinstance(layer, tuple) else (layer.weight, layer.bias)
    return inputs * ((relevance / (inputs @ weight.T + bias)) @ weight)


def norm(relevance: Tensor, inputs: Tensor, layer: nn.LayerNorm) -> Tensor:
    """The epsilon rule of a layer norm, whose denominator is a constant."""
    scale = layer.weight / (inputs.var(-1, correction=0, keepdim=True) + layer.eps).sqrt()
    ratio = scale * relevance / layer(inputs)
    return inputs * (ratio - ratio.mean(-1, keepdim=True))


def replica(model: OneBlock, image: Tensor, constant_attention: bool) -> Tensor:
    """The relevance of each pixel, by the rules without gamma."""
    patches = F.unfold(image[None], PATCH, stride=PATCH)[0].T
    tokens = model.embed(patches)
    normed = model.norm1(tokens)
    projections = model.projections()
    q, k, v = (F.linear(normed, weight, bias) for weight, bias in projections)
    logits = q @ k.T / math.sqrt(WIDTH)
    weights = logits.softmax(-1)
    mixed = weights @ v
    branch = model.mixer.out_proj(mixed)
    middle = tokens + branch
    hidden = model.fc1(model.norm2(middle))
    update = model.fc2(F.gelu(hidden))
    last = middle + update

    pooled = last.mean(0)
    score = model.head(pooled)[CLASS]
    r = model.head.weight[CLASS] * pooled / score * score
    r = last / len(last) / pooled * r
    r_update, r_middle = update / last * r, middle / last * r
    r_hidden = linear(r_update, F.gelu(hidden), model.fc2)  # GELU passes relevance unchanged
    r_middle = r_middle + norm(linear(r_hidden, model.norm2(middle), model.fc1), middle, model.norm2)
    r_branch, r_tokens = branch / middle * r_middle, tokens / middle * r_middle
    ratio = linear(r_branch, mixed, model.mixer.out_proj) / mixed
    if constant_attention:
        r_normed = linear(v * (weights.T @ ratio), normed, projections[2])
    else:
        r_weights = weights * (ratio @ v.T) / 2
        r_logits = logits * (r_weights - weights * r_weights.sum(-1, keepdim=True))
        share = r_logits / logits / math.sqrt(WIDTH) / 2
        parts = q * (share @ k), k * (share.T @ q), v * (weights.T @ ratio) / 2
        r_normed = sum(
            (linear(part, normed, each) for part, each in zip(parts, projections, strict=True)), torch.zeros(())
        )
    r_tokens = r_tokens + norm(r_normed, tokens, model.norm1)
    pixels = linear(r_tokens, patches, model.embed)
    return F.fold(pixels.T[None], (SIDE, SIDE), PATCH, stride=PATCH)[0].sum(0)


def explained(model: nn.Module, images: Tensor, spec: str) -> Tensor:
    [saliency] = xai.Engine(model.double()).explain(images.double(), spec, CLASS).values()
    return saliency.raw.double()


@pytest.mark.parametrize("name", ["attn-lrp", "cp-lrp"])
@pytest.mark.parametrize("attention", ["explicit", "fused", "by keywords", "module"])
def test_relevance_is_propagated_by_the_rules(attention: str, name: str) -> None:
    model, images = OneBlock(attention).double().eval(), torch.randn(2, 3, SIDE, SIDE).double()
    with torch.no_grad():
        expected = torch.stack([replica(model, image, name == "cp-lrp") for image in images])
    torch.testing.assert_close(explained(model, images, f"{name}:gamma=0,channels=sum"), expected, rtol=1e-5, atol=1e-7)


class Gated(nn.Module):
    """A residual network with a gate and without biases."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.branch = nn.Conv2d(3, 8, 3, 2, bias=False), nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.gate, self.head = nn.Linear(8, 8, bias=False), nn.Linear(8, CLASSES, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = x + self.branch(x) * self.gate(x.mean((2, 3))).sigmoid()[..., None, None]
        return self.head(F.silu(x).mean((2, 3)))


def without_biases() -> nn.Module:
    model = settled(fused_vit(class_token=False, global_pool="avg"))
    for name, parameter in model.named_parameters():
        if "bias" in name or "pos_embed" in name:
            nn.init.zeros_(parameter)
    return model


@pytest.mark.parametrize("gamma", [0, 0.25])
@pytest.mark.parametrize("make", [Gated, without_biases])
def test_without_biases_the_relevance_sums_to_the_score(make: type[nn.Module], gamma: float) -> None:
    model, images = make().double().eval(), torch.randn(2, 3, 32, 32).double()
    relevance = explained(model, images, f"cp-lrp:gamma={gamma},channels=sum")
    torch.testing.assert_close(relevance.sum((1, 2)), model(images)[:, CLASS].detach(), rtol=1e-4, atol=1e-5)


def test_the_gamma_rule_reads_keywords(images: Tensor) -> None:
    class ByKeywords(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return F.linear(input=input, weight=self.weight, bias=self.bias)

    torch.manual_seed(0)
    by_keywords = nn.Sequential(nn.Flatten(), ByKeywords(images[0].numel(), CLASSES))
    plain = nn.Sequential(nn.Flatten(), nn.Linear(images[0].numel(), CLASSES))
    plain.load_state_dict(by_keywords.state_dict())
    found, expected = (explained(model, images, "attn-lrp") for model in (by_keywords, plain))
    torch.testing.assert_close(found, expected)


class Gates(nn.Module):
    """A signal that is gated in place, after an activation in place."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        signal = F.silu(2 * x, inplace=True)
        signal *= x.flip(1).sigmoid()
        return self.head(signal.sum((2, 3)))


def test_a_gated_signal_receives_all_relevance() -> None:
    model, image = Gates().double(), torch.randn(1, 3, 4, 4).double()
    signal = F.silu(2 * image) * image.flip(1).sigmoid()
    expected = (signal * model.head.weight[CLASS].detach()[:, None, None]).sum(1)
    torch.testing.assert_close(explained(model, image, "attn-lrp:gamma=0,channels=sum"), expected)


def test_a_product_with_a_changed_operand_is_rejected() -> None:
    class Squared(Gates):
        def forward(self, x: Tensor) -> Tensor:
            return self.head((2 * x).mul_(x).sum((2, 3)))

    with pytest.raises(UnsuitableError, match="no rule for mul_"):
        explained(Squared(), torch.randn(1, 3, 4, 4), "attn-lrp")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("layer_norm", {"normalized_shape": (5,), "weight": torch.rand(5), "bias": torch.rand(5)}),
        ("group_norm", {"num_groups": 2, "weight": torch.rand(4), "bias": torch.rand(4)}),
        ("rms_norm", {"normalized_shape": (5,), "weight": torch.rand(5)}),
        ("cosine_similarity", {"dim": 2}),
    ],
)
def test_normalizations_keep_their_values(name: str, options: dict[str, Any]) -> None:
    inputs = [torch.randn(3, 4, 5) for _ in range(1 + (name == "cosine_similarity"))]
    expected = getattr(F, name)(*inputs, **options)
    torch.testing.assert_close(NORMALIZATIONS[name](*inputs, **options), expected)


@pytest.mark.parametrize("make", [Plain, fused_vit, Gated])
def test_the_rules_change_no_score(make: type[nn.Module], images: Tensor) -> None:
    model = settled(make())
    with PropagationRules(0.25, constant_attention=False):
        scores = model(images.requires_grad_())
    torch.testing.assert_close(scores, model(images))


def test_the_gamma_rule_increases_contributions_of_the_same_sign() -> None:
    """The shares of a single layer, pixel by pixel."""
    model, gamma = nn.Sequential(nn.Flatten(), nn.Linear(12, CLASSES)).double(), 0.5
    image = torch.randn(1, 3, 2, 2).double()
    layer = model[1]
    contributions = (image.flatten() * layer.weight[CLASS]).detach()
    bias, score = layer.bias[CLASS].detach(), model(image)[0, CLASS].detach()
    same = contributions * score > 0
    increased = contributions * (1 + gamma * same)
    total = increased.sum() + bias * (1 + gamma * (bias * score > 0))
    expected = (increased / total * score).view(3, 2, 2).sum(0)
    torch.testing.assert_close(explained(model, image, f"attn-lrp:gamma={gamma},channels=sum")[0], expected)


def test_without_gamma_a_relu_network_gives_the_image_times_its_gradient(images: Tensor) -> None:
    model = settled(Plain())
    ours = explained(model, images, "attn-lrp:gamma=0,channels=sum")
    torch.testing.assert_close(ours, explained(model, images, "input-x-gradient:channels=sum"), rtol=1e-4, atol=1e-6)


class Exponential(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.mean((2, 3)).exp())


def test_an_operation_without_a_rule_is_rejected(images: Tensor) -> None:
    with pytest.raises(UnsuitableError, match=r"attn-lrp has no rule for the operations Exp, .* use integrated"):
        explained(Exponential(), images, "attn-lrp")


def test_the_model_keeps_its_parameters(images: Tensor) -> None:
    model = settled(Plain())
    before = [*model.parameters()]
    explained(model, images, "attn-lrp")
    assert all(one is other and one.requires_grad for one, other in zip(model.parameters(), before, strict=True))
