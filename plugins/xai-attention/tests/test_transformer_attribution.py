"""Transformer attribution against relevance that is propagated layer by layer, by the rules of the paper."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import xai_core as xai
from support.attention_references import read_row
from support.explicit_attention import case
from support.models import fused_vit, settled
from support.siamese import Siamese
from xai_attention.attribution_rules import AttributionRules
from xai_core.errors import UnsuitableError

CLASS, PATCH, WIDTH, HEADS, CLASSES = 1, 4, 6, 2, 3
ATTENTIONS = ["explicit", "fused", "module", "by products"]


class Block(nn.Module):
    """A transformer block whose attention is explicit, fused or that of PyTorch's module."""

    def __init__(self, attention: str) -> None:
        super().__init__()
        self.attention = attention
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.mixer = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.fc1, self.fc2 = nn.Linear(WIDTH, 10), nn.Linear(10, WIDTH)

    def projections(self) -> list[tuple[Tensor, Tensor]]:
        return [*zip(self.mixer.in_proj_weight.chunk(3), self.mixer.in_proj_bias.chunk(3), strict=True)]

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mix(self.norm1(x))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))

    def mix(self, tokens: Tensor) -> Tensor:
        if self.attention == "module":
            return self.mixer(tokens, tokens, tokens)[0]
        q, k, v = (split_heads(self.project(tokens, *each)) for each in self.projections())
        if self.attention == "fused":
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:
            mixed = (q @ k.mT / math.sqrt(WIDTH / HEADS)).softmax(-1) @ v
        return self.mixer.out_proj(mixed.transpose(-3, -2).flatten(-2))

    def project(self, tokens: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return tokens @ weight.T + bias if self.attention == "by products" else F.linear(tokens, weight, bias)


class TwoBlocks(nn.Module):
    def __init__(self, attention: str, reads: str) -> None:
        super().__init__()
        self.reads, self.embed, self.head = reads, nn.Conv2d(3, WIDTH, PATCH, PATCH), nn.Linear(WIDTH, CLASSES)
        self.class_token, self.position = nn.Parameter(torch.randn(1, 1, WIDTH)), nn.Parameter(torch.randn(5, WIDTH))
        self.blocks = nn.ModuleList([Block(attention), Block(attention)])

    def tokens(self, x: Tensor) -> Tensor:
        patches = self.embed(x).flatten(2).mT
        return torch.cat([self.class_token.expand(len(x), -1, -1), patches], 1) + self.position

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.tokens(x)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(tokens[:, 0] if self.reads == "class" else tokens.mean(1))


def split_heads(tokens: Tensor) -> Tensor:
    return tokens.unflatten(-1, (HEADS, -1)).transpose(-3, -2)


def positive(relevance: Tensor, inputs: Tensor, weight: Tensor) -> Tensor:
    """The relevance of the inputs of a linear layer. Only positive contributions receive relevance."""
    contributions = (inputs[..., None, :] * weight).clamp(min=0)  # [..., outputs, inputs]
    shares = contributions / contributions.sum(-1, keepdim=True)
    return (relevance[..., None] * shares.nan_to_num(0)).sum(-2)


def shared(relevance: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The normalized relevance of the operands of a sum."""
    a, b = (each / (first + second) * relevance for each in (first, second))
    magnitudes = a.sum().abs() + b.sum().abs()
    return (
        a * a.sum().abs() / magnitudes * relevance.sum() / a.sum(),
        b * b.sum().abs() / magnitudes * relevance.sum() / b.sum(),
    )


def factors(relevance: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Halves of the relevance of the operands of a matrix product."""
    ratio = relevance / (first @ second)
    return first * (ratio @ second.mT) / 2, second * (first.mT @ ratio) / 2


class BlockReplica:
    """One block for one image, whose matrix is a tensor of the graph, and its relevance."""

    def __init__(self, block: Block, tokens: Tensor) -> None:
        self.block, self.inputs, self.normed = block, tokens, block.norm1(tokens)
        self.q, self.k, self.v = (split_heads(F.linear(self.normed, *each)) for each in block.projections())
        self.weights = (self.q @ self.k.mT / math.sqrt(WIDTH / HEADS)).softmax(-1)
        self.mixed = (self.weights @ self.v).transpose(-3, -2).flatten(-2)
        self.branch = block.mixer.out_proj(self.mixed)
        self.middle = tokens + self.branch
        self.normed2 = block.norm2(self.middle)
        self.activated = F.gelu(block.fc1(self.normed2))
        self.update = block.fc2(self.activated)
        self.outputs = self.middle + self.update

    def propagate(self, relevance: Tensor) -> tuple[Tensor, Tensor]:
        """The relevance of the inputs and of the attention weights."""
        block = self.block
        r_middle, r_update = shared(relevance, self.middle, self.update)
        r_hidden = positive(r_update, self.activated, block.fc2.weight)
        r_middle = r_middle + positive(r_hidden, self.normed2, block.fc1.weight)
        r_inputs, r_branch = shared(r_middle, self.inputs, self.branch)
        r_mixed = split_heads(positive(r_branch, self.mixed, block.mixer.out_proj.weight))
        r_weights, r_v = factors(r_mixed, self.weights, self.v)
        r_q, r_k = factors(r_weights, self.q, self.k.mT)
        parts = torch.cat([part.transpose(-3, -2).flatten(-2) for part in (r_q, r_k.mT, r_v)], -1)
        return r_inputs + positive(parts, self.normed, block.mixer.in_proj_weight), r_weights


def replica(model: TwoBlocks, image: Tensor) -> Tensor:
    tokens, blocks = model.tokens(image[None])[0], []
    for block in model.blocks:
        assert isinstance(block, Block)
        blocks.append(BlockReplica(block, tokens))
        tokens = blocks[-1].outputs
    read = tokens[0] if model.reads == "class" else tokens.mean(0)
    gradients = torch.autograd.grad(model.head(read)[CLASS], [block.weights for block in blocks])
    relevance = positive(torch.eye(CLASSES, dtype=torch.float64)[CLASS], read, model.head.weight)
    relevance = torch.eye(5)[0][:, None] * relevance if model.reads == "class" else tokens / tokens.sum(0) * relevance
    identity = rolled = torch.eye(5, dtype=torch.float64)
    for block, gradient in zip(reversed(blocks), reversed(gradients), strict=True):
        relevance, of_weights = block.propagate(relevance)
        rolled = rolled @ (identity + (gradient * of_weights).clamp(min=0).mean(0))
    return (read_row(model.reads, 5, 1) @ (rolled - identity))[1:].view(2, 2).detach()


def explained(model: nn.Module, images: Tensor, target: object = CLASS) -> Tensor:
    [saliency] = xai.Engine(model).explain(images, "transformer-attribution", target).values()
    return saliency.raw


@pytest.mark.parametrize("reads", ["class", "all"])
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_relevance_is_propagated_by_the_rules(attention: str, reads: str) -> None:
    model, images = TwoBlocks(attention, reads).double().eval(), torch.randn(2, 3, 8, 8).double()
    expected = torch.stack([replica(model, image) for image in images])
    assert (expected > 0).any()
    torch.testing.assert_close(explained(model, images).double(), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", ["hugging face ViT, sdpa", "timm"])
def test_fused_and_explicit_attention_have_the_same_map(name: str) -> None:
    model, images, *_ = case(name)
    explicit = copy.deepcopy(model)
    if name == "timm":
        for block in explicit.blocks:
            block.attn.fused_attn = False
    else:
        explicit.set_attn_implementation("eager")
    fused, other = (explained(each.double(), images.double()) for each in (model, explicit))
    torch.testing.assert_close(fused, other, rtol=1e-4, atol=1e-7)


def test_the_size_of_blocks_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images, *_ = case("timm")
    whole = explained(model, images)
    monkeypatch.setattr("xai_attention.attribution_functions.ROW_BLOCK", 5)
    torch.testing.assert_close(explained(model, images), whole, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("make", "size"), [(lambda: TwoBlocks("module", "class"), 8), (fused_vit, 32)])
def test_the_rules_change_no_score(make: Callable[[], nn.Module], size: int) -> None:
    model, images = settled(make()).requires_grad_(False), torch.randn(1, 3, size, size)
    with AttributionRules():
        scores = model(images.requires_grad_())
    torch.testing.assert_close(scores, model(images))


class Changed(TwoBlocks):
    """A model with another operation after the blocks."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__("fused", "class")
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        return self.change(super().forward(x))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (torch.exp, "no rule for the operations Exp"),
        (lambda x: x - x.mean(-1, keepdim=True), "no rule for the operations Sub"),
        (lambda x: torch.addmm(torch.zeros(CLASSES), x, torch.eye(CLASSES)), "no rule for addmm"),
        (lambda x: x.clone().mul_(x.sum()), "no rule for mul_"),
    ],
)
def test_an_operation_without_a_rule_is_rejected(change: Callable[[Tensor], Tensor], message: str) -> None:
    with pytest.raises(UnsuitableError, match=message):
        explained(Changed(change).eval(), torch.randn(1, 3, 8, 8))


@pytest.mark.parametrize(
    "change",
    [
        lambda x: torch.zeros_like(x).add_(x),
        lambda x: F.relu(100 + x, inplace=True),
        lambda x: (x @ torch.eye(CLASSES).to(x)) / 2,
    ],
)
def test_operations_that_pass_relevance_unchanged(change: Callable[[Tensor], Tensor]) -> None:
    model, images = Changed(change).eval(), torch.randn(1, 3, 8, 8)
    ours = explained(model, images)
    model.change = lambda x: x
    plain = explained(model, images)
    torch.testing.assert_close(ours / ours.max(), plain / plain.max(), rtol=1e-4, atol=1e-6)


def test_a_difference_of_classes_is_rejected() -> None:
    with pytest.raises(UnsuitableError, match="no rule for the operations Sub"):
        explained(TwoBlocks("fused", "class").eval(), torch.randn(1, 3, 8, 8), xai.Contrast(0, 1))


def test_a_model_that_cannot_run_in_float64_is_rejected() -> None:
    model = TwoBlocks("fused", "class")
    model.blocks[1].norm1.register_forward_pre_hook(lambda _, args: args[0].float())
    with pytest.raises(UnsuitableError, match="runs the model in float64"):
        explained(model.eval(), torch.randn(1, 3, 8, 8))


def test_masked_attention_is_rejected() -> None:
    class Masked(Block):
        def mix(self, tokens: Tensor) -> Tensor:
            return self.mixer(tokens, tokens, tokens, attn_mask=torch.zeros(5, 5))[0]

    model = TwoBlocks("module", "class")
    model.blocks[1] = Masked("module")
    with pytest.raises(UnsuitableError, match="multi-head attention with attn_mask"):
        explained(model.eval(), torch.randn(1, 3, 8, 8))


def test_a_similarity_is_explained_like_a_linear_layer() -> None:
    """With vectors of length one, the cosine similarity is the score of a linear layer without a bias."""
    model, texts = TwoBlocks("fused", "class").double().eval(), torch.randn(CLASSES, WIDTH).double()
    texts = F.normalize(texts, dim=1)

    class Similarity(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.cosine_similarity(x[:, None], texts, dim=-1)

    class Linear(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x / x.norm(dim=-1, keepdim=True), texts)

    images = torch.randn(1, 3, 8, 8).double()
    maps = []
    for head in (Similarity(), Linear()):
        model.head = head
        maps.append(explained(model, images))
    torch.testing.assert_close(*maps, rtol=1e-5, atol=1e-8)


def test_the_other_input_is_in_float64_too() -> None:
    torch.manual_seed(0)
    model, left, right = settled(Siamese(fused_vit())), torch.randn(1, 3, 32, 32), torch.randn(1, 3, 32, 32)
    method = "transformer-attribution"
    ours, _ = xai.Engine(model).explain((left, right), method, target=1)
    alone = xai.Engine(model, forward=lambda model, images: model(images, right.to(images.dtype)))
    torch.testing.assert_close(ours[method].raw, alone.explain(left, method, target=1)[method].raw)
