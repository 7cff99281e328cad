"""Attention that is chained, limited to a module, or refused, in models whose order of operations is known."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel

import xai_core as xai
from support.attention_models import TINY, TINY_TEXT
from support.strange import Attention, Block
from support.strange_attention import Ensemble, Parallel, ZeroShot, vit
from support.strange_sequences import naming
from support.strange_tokens import Tokens
from xai_core.errors import LayerError, NoAttentionError, UnsuitableError

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))
CHAINING = ["rollout", "generic-attention", "gradient-rollout", "attention-flow", "legrad", "ag-cam"]


class Between(Tokens):
    """A vision transformer of three blocks with another operation on tokens before the last one."""

    def __init__(self, between: Callable[[Tensor], Tensor] | nn.Module) -> None:
        super().__init__(torch.arange(17), F.one_hot(torch.tensor(0), 17).float(), 1, depth=3)
        self.operation, self.calls = between, 0

    def between(self, tokens: Tensor) -> Tensor:
        self.calls += 1
        return tokens if self.calls % 2 else self.operation(tokens)


class Mixer(nn.Module):
    """The token-mixing half of a layer of an MLP mixer."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.mix = nn.LayerNorm(16), nn.Linear(17, 17)

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens + self.mix(self.norm(tokens).mT).mT


class Local(nn.Module):
    """A convolution over the grid of patches, as in conditional position encodings."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(16, 16, 3, 1, 1, groups=16)

    def forward(self, tokens: Tensor) -> Tensor:
        maps = tokens[:, 1:].mT.unflatten(2, (4, 4))
        return torch.cat([tokens[:, :1], (maps + self.convolution(maps)).flatten(2).mT], 1)


class Skip(Tokens):
    """A connection from the first block to the fourth, around two others, as in a U-shaped transformer."""

    def __init__(self) -> None:
        super().__init__(torch.arange(17), F.one_hot(torch.tensor(0), 17).float(), 1, depth=4)
        self.earlier: list[Tensor] = []

    def between(self, tokens: Tensor) -> Tensor:
        self.earlier.append(tokens)
        return tokens if len(self.earlier) % 3 else tokens + self.earlier[-3]


class ReadsTwoBlocks(nn.Module):
    """A head on the class tokens of the last two blocks, as for a linear evaluation of DINO."""

    def __init__(self) -> None:
        super().__init__()
        self.vit, self.head = vit(depth=3), nn.Linear(32, 5)

    def forward(self, images: Tensor) -> Tensor:
        read = []
        handles = [
            block.register_forward_hook(lambda _, __, output: read.append(output[:, 0]))
            for block in self.vit.blocks[1:]
        ]
        self.vit(images)
        for handle in handles:
            handle.remove()
        return self.head(torch.cat(read, 1))


class Multiplied(Parallel):
    """Two layers of attention whose results are multiplied."""

    def forward(self, tokens: Tensor) -> Tensor:
        first, second = (attn(norm(tokens)) for attn, norm in zip(self.attns, self.norms, strict=True))
        return tokens + first * second


class Own(nn.Module):
    """Attention in the forward function of the model itself, whose tokens move before the second layer."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Sequential(nn.Conv2d(3, 16, 8, 8), nn.Flatten(2))
        self.norms, self.head = nn.ModuleList(nn.LayerNorm(16) for _ in range(3)), nn.Linear(16, 5)

    def forward(self, images: Tensor) -> Tensor:
        first, second, last = self.norms
        tokens = second(self.attend(first(self.patches(images).mT)))
        return self.head(last(self.attend(tokens.roll(1, 1))).mean(1))

    def attend(self, tokens: Tensor) -> Tensor:
        return tokens + F.scaled_dot_product_attention(tokens, tokens, tokens)


def settled(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make().eval()


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "token mixer": (lambda: Between(Mixer()), r"other operations after the attention in 'blocks\.\d\.attn' mix"),
    "convolution": (lambda: Between(Local()), "other operations after"),
    "moved tokens": (lambda: Between(lambda tokens: tokens.roll(1, 1)), "mix or move tokens"),
    "flipped patches": (
        lambda: Between(lambda tokens: torch.cat([tokens[:, :1], tokens[:, 1:].flip(1)], 1)), "mix or move tokens",
    ),
    "two patches exchanged": (
        lambda: Between(lambda tokens: tokens[:, [0, 10, *range(2, 10), 1, *range(11, 17)]]), "mix or move tokens",
    ),
    "attention outside of submodules": (Own, "after the attention of the model itself mix or move tokens"),
    "skip around a block": (Skip, r"other paths around several of these layers: .*'blocks\.1\.attn'"),
    "two blocks are read": (
        ReadsTwoBlocks, r"the attention in 'vit\.blocks\.2\.attn' follows these tokens.*several transformer blocks",
    ),
    "multiplied": (lambda: vit(Multiplied), "follow one another"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_layers_that_are_no_chain_are_refused(name: str) -> None:
    make, message = REFUSED[name]
    engine = xai.Engine(settled(make))
    for method in CHAINING:
        with pytest.raises(UnsuitableError, match=message):
            engine.explain(IMAGES, method)


def test_one_layer_can_be_shown_if_its_tokens_keep_their_position() -> None:
    """The last of three layers is after the mixer, the first is before it."""
    engine = xai.Engine(settled(lambda: Between(Mixer())))
    weights = engine.attention(IMAGES).weights[-1]
    for method in ("raw-attention", "head-attention"):
        maps = engine.explain(IMAGES, method)[method].raw
        torch.testing.assert_close(maps, weights.mean(1)[:, 0, 1:].unflatten(1, (4, 4)))
        with pytest.raises(UnsuitableError, match=r"the attention in 'blocks\.0\.attn' are mixed"):
            engine.explain(IMAGES, f"{method}:layer=0")


@pytest.mark.parametrize("number", [0, 1])
def test_a_method_is_limited_to_one_model_of_an_ensemble(number: int) -> None:
    ensemble: Any = settled(Ensemble)
    engine, alone = xai.Engine(ensemble), xai.Engine(ensemble.models[number])
    for method in ("rollout", "raw-attention", "head-attention", "attention-flow"):
        ours = engine.explain(IMAGES, f"{method}:module=models.{number}")
        expected = alone.explain(IMAGES, method)
        torch.testing.assert_close(next(iter(ours.values())).raw, expected[method].raw)
    matrices = engine.attention(IMAGES, module=f"models.{number}").weights
    assert len(matrices) == 2
    for matrix, expected in zip(matrices, alone.attention(IMAGES).weights, strict=True):
        torch.testing.assert_close(matrix, expected)


def test_gradients_of_one_model_of_an_ensemble() -> None:
    """The score of the ensemble is half the sum of the scores of its models."""
    ensemble: Any = settled(Ensemble).double()
    images = IMAGES.double()
    spec = xai.create_explainer("generic-attention", module=ensemble.models[1])
    with torch.no_grad():
        halved = ensemble.models[1].head
        ours = xai.Engine(ensemble).explain(images, spec, 1)["generic-attention"].raw
        halved.weight /= 2
        halved.bias /= 2
    expected = xai.Engine(ensemble.models[1]).explain(images, "generic-attention", 1)["generic-attention"].raw
    torch.testing.assert_close(ours, expected)


def test_modules_without_attention() -> None:
    engine = xai.Engine(settled(Ensemble))
    for module, error in (("models.0.head", NoAttentionError), ("models.2", LayerError)):
        with pytest.raises(error, match=module):
            engine.attention(IMAGES, module=module)
        with pytest.raises(error, match=module):
            engine.explain(IMAGES, f"rollout:module={module}")
    with pytest.raises(NoAttentionError, match=r"such as 'models\.0\.blocks\.0\.attn', "):
        engine.attention(IMAGES, module="models.0.head")


def test_attention_that_does_not_depend_on_the_images_is_left_out() -> None:
    engine = xai.Engine(settled(ZeroShot), forward=naming)
    record = engine.attention(IMAGES)
    assert record.names == ("vision.blocks.0.attn", "vision.blocks.1.attn")
    assert len(record) == len(IMAGES)
    with pytest.raises(NoAttentionError, match=r"in module 'text'.*such as 'vision\.blocks\.0\.attn'"):
        engine.attention(IMAGES, module="text")


def test_zero_shot_classification_of_clip() -> None:
    """Rollout of the image tower's own attention, which Hugging Face returns."""
    torch.manual_seed(0)
    clip: Any = CLIPModel(CLIPConfig(vision_config=TINY, text_config=TINY_TEXT)).eval()
    prompts = torch.tensor([[0, 5, 6, 1], [0, 7, 8, 1], [0, 9, 5, 1]])

    def forward(model: nn.Module, images: Tensor) -> Tensor:
        return model(input_ids=prompts, pixel_values=images).logits_per_image

    clip.set_attn_implementation("eager")
    with torch.no_grad():
        attentions = clip.vision_model(IMAGES, output_attentions=True).attentions
    rolled = torch.eye(17)
    for attention in attentions:
        rolled = (attention.mean(1) + torch.eye(17)) / 2 @ rolled
    clip.set_attn_implementation("sdpa")
    engine = xai.Engine(clip, forward=forward)
    for method in ("rollout", "rollout:module=vision_model"):
        torch.testing.assert_close(engine.explain(IMAGES, method)[method].raw.flatten(1), rolled[:, 0, 1:])
    assert len(engine.attention(IMAGES).layers) == len(engine.attention(IMAGES, module="vision_model").layers) == 3


class TalkingHeads(Attention):
    """Mixes the heads after the softmax, by weights that may be negative."""

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        return torch.einsum("bhij,gh->bgij", weights, torch.tensor([[1.5, -0.5], [0.0, -1.0]])) @ v


def test_negative_weights_are_no_shares() -> None:
    engine = xai.Engine(settled(lambda: vit(lambda: Block(attention=TalkingHeads))))
    for method in ("rollout", "attention-flow"):
        with pytest.raises(UnsuitableError, match=r"nonnegative.*'blocks\.0\.attn'.*generic-attention"):
            engine.explain(IMAGES, method)
    assert not engine.explain(IMAGES, "generic-attention")["generic-attention"].constant.any()


class DependsOnBatch(Block):
    """Leaves out its attention for several images."""

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens) if len(tokens) == 1 else tokens + self.mlp(self.norm2(tokens))


def test_attention_that_depends_on_the_batch_is_refused() -> None:
    engine = xai.Engine(settled(lambda: vit(DependsOnBatch)))
    engine.explain(IMAGES[:1], "rollout")
    with pytest.raises(UnsuitableError, match="different attention layers for this batch than for one image"):
        engine.explain(IMAGES, "rollout")
    with pytest.raises(UnsuitableError, match="different attention layers for this batch than for one image"):
        engine.attention(IMAGES)
