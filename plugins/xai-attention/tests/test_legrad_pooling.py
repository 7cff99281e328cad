"""LeGrad of models in which one query pools the tokens by attention, against float64 replicas with whole matrices."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

import xai_core as xai
from support.attention_models import attention_pooling, with_attention
from support.attention_references import assert_is, slow_attention, slow_pooling
from support.dual_encoders import CONTEXT, DUAL_ENCODERS, TEXTS, word_tokenizer
from support.models import settled
from support.siamese import RightFirst, Siamese, pair
from xai_core.errors import NotConnectedError, UnsuitableError

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
Scores = Callable[[Any, Tensor], tuple[Tensor, Tensor]]
"""Returns the scores [B,classes] of the tokens of a block, and the weights [B,heads,1,N] of the pooling."""


def replica(
    model: nn.Module, images: Tensor, blocks: Sequence[str], scores: Scores, target: int, dim: int = 0
) -> Tensor:
    """Return the positive part of ds_l/dA_l, averaged over heads, with A_l the pooling of the tokens Z_l [B,L,h,w]."""
    wide, tokens = copy.deepcopy(model).double().eval(), []
    for block in blocks:
        wide.get_submodule(block).register_forward_hook(lambda _, __, output: tokens.append(output.clone()))
    with torch.no_grad():
        wide(images.double())
    maps = []
    for z in tokens:
        own, weights = scores(wide, z if dim == 0 else z.transpose(0, 1))
        [gradient] = torch.autograd.grad(own[:, target].sum(), weights)
        maps.append(gradient.clamp(min=0).mean(1)[:, 0])
    assert len(maps) == len(blocks)
    side = round(maps[0].shape[1] ** 0.5)
    return torch.stack(maps, 1).unflatten(2, (side, side))


def assert_is_mean(saliency: xai.Saliency, layers: Tensor) -> None:
    assert saliency.parts is not None
    assert float(layers.amax()) > 1e-3
    torch.testing.assert_close(saliency.parts.double(), layers, atol=1e-7, rtol=1e-5)
    assert_is(saliency, layers.mean(1))


def wide_map(model: nn.Module, target: Any, images: Tensor = IMAGES) -> xai.Saliency:
    return xai.Engine(copy.deepcopy(model).double()).explain(images.double(), "legrad", target)["legrad"]


def of_siglip(model: Any, tokens: Tensor) -> tuple[Tensor, Tensor]:
    pooled, weights = slow_pooling(model.vision.head, model.vision.post_layernorm(tokens))
    return model.head(pooled), weights


SIGLIP_BLOCKS = [f"vision.encoder.layers.{i}" for i in range(3)]


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_several_targets_of_a_model_of_transformers(implementation: str) -> None:
    torch.manual_seed(0)
    model = settled(with_attention(attention_pooling, implementation)())
    for saliency, target in zip(wide_map(model, [[0, 2, 4]] * 2).each, (0, 2, 4), strict=True):
        assert_is_mean(saliency, replica(model, IMAGES, SIGLIP_BLOCKS, of_siglip, target))


def timm_siglip() -> nn.Module:
    torch.manual_seed(0)
    return settled(
        timm.create_model(
            "vit_base_patch16_siglip_224", img_size=32, patch_size=8, embed_dim=48, depth=2, num_heads=3, num_classes=5
        )
    )


def of_timm(model: Any, tokens: Tensor) -> tuple[Tensor, Tensor]:
    pool, tokens = model.attn_pool, model.norm(tokens)
    query = pool.q(pool.latent).unflatten(-1, (pool.num_heads, -1)).transpose(1, 2)
    key, value = pool.kv(tokens).unflatten(-1, (2, pool.num_heads, -1)).permute(2, 0, 3, 1, 4)
    weights = (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1)
    pooled = pool.proj((weights @ value).transpose(1, 2).flatten(2))
    return model.head(model.fc_norm((pooled + pool.mlp(pool.norm(pooled)))[:, 0])), weights


@pytest.mark.parametrize("fused", [True, False])
def test_fused_and_explicit_attention_of_timm(fused: bool) -> None:
    model: Any = timm_siglip()
    model.attn_pool.fused_attn = fused
    for block in model.blocks:
        block.attn.fused_attn = fused
    with torch.no_grad():
        torch.testing.assert_close(
            of_timm(model, model.blocks(model.patch_embed(IMAGES) + model.pos_embed))[0], model(IMAGES)
        )
    assert_is_mean(wide_map(model, 1), replica(model, IMAGES, ["blocks.0", "blocks.1"], of_timm, 1))


@pytest.mark.parametrize("kind", [Siamese, RightFirst])
def test_each_of_two_images(kind: type[Siamese]) -> None:
    """The same encoder runs once for each image."""
    model: Any = pair(kind, timm_siglip())
    wide = copy.deepcopy(model).double()
    both = xai.Engine(wide).explain((IMAGES.double(), IMAGES.flip(3).double()), "legrad", 1)
    codes = [wide.encoder(images.double()).detach() for images in (IMAGES, IMAGES.flip(3))]

    def of_left(encoder: Any, tokens: Tensor) -> tuple[Tensor, Tensor]:
        code, weights = of_timm(encoder, tokens)
        return wide.compare(code, codes[1]), weights

    def of_right(encoder: Any, tokens: Tensor) -> tuple[Tensor, Tensor]:
        code, weights = of_timm(encoder, tokens)
        return wide.compare(codes[0], code), weights

    for maps, images, scores in zip(both, (IMAGES, IMAGES.flip(3)), (of_left, of_right), strict=True):
        assert_is_mean(maps["legrad"], replica(model.encoder, images, ["blocks.0", "blocks.1"], scores, 1))


class Pooling(nn.Module):
    """An `nn.TransformerEncoder` whose tokens one query pools with an `nn.MultiheadAttention`."""

    def __init__(self, batch_first: bool = True) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.patches = nn.Conv2d(3, 32, 8, 8)
        self.positions = nn.Parameter(torch.randn(16, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, 0.0, batch_first=batch_first, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.query = nn.Parameter(torch.randn(1, 1, 32))
        self.pool = nn.MultiheadAttention(32, 4, batch_first=batch_first)
        self.head = nn.Linear(32, 5)

    def embed(self, images: Tensor) -> Tensor:
        return self.patches(images).flatten(2).transpose(1, 2) + self.positions

    def pooled(self, tokens: Tensor) -> Tensor:
        return self.pool(self.query.expand(len(tokens), -1, -1), tokens, tokens, need_weights=False)[0][:, 0]

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.embed(images)
        if self.batch_first:
            return self.head(self.pooled(self.encoder(tokens)))
        tokens = self.encoder(tokens.transpose(0, 1))
        return self.head(self.pool(self.query.expand(-1, len(images), -1), tokens, tokens)[0][0])


def of_encoder(model: Any, tokens: Tensor) -> tuple[Tensor, Tensor]:
    pooled, weights = slow_attention(model.pool, model.query, tokens)
    return model.head(pooled[:, 0]), weights


ENCODER_BLOCKS = ["encoder.layers.0", "encoder.layers.1"]


@pytest.mark.parametrize("batch_first", [True, False])
def test_tokens_in_either_layout(batch_first: bool) -> None:
    torch.manual_seed(0)
    model = settled(Pooling(batch_first))
    expected = replica(model, IMAGES, ENCODER_BLOCKS, of_encoder, 3, dim=0 if batch_first else 1)
    assert_is_mean(wide_map(model, 3), expected)


class Written(Pooling):
    """Reads a value of the image, so the part after the last block cannot run alone, and writes to its tokens."""

    def forward(self, images: Tensor) -> Tensor:
        assert float(images.detach().mean()) < 100
        tokens = self.embed(images)
        for block in self.encoder.layers:
            tokens = block(tokens)
            tokens += self.positions
        return self.head(self.pooled(tokens))


def test_a_model_that_writes_to_its_tokens_and_whose_last_part_cannot_run_alone() -> None:
    torch.manual_seed(0)
    model = settled(Written())
    expected = replica(
        model, IMAGES, ENCODER_BLOCKS, lambda model, tokens: of_encoder(model, tokens + model.positions), 3
    )
    assert_is_mean(wide_map(model, 3), expected)


def test_the_text_of_a_dual_encoder() -> None:
    encoder = DUAL_ENCODERS["SigLIP"]
    model = encoder.build().double()
    tokens = word_tokenizer()(TEXTS[0], return_tensors="pt", padding="max_length", max_length=CONTEXT)
    text = model.get_text_features(**tokens)
    text = getattr(text, "pooler_output", text)

    def of_text(model: Any, tokens: Tensor) -> tuple[Tensor, Tensor]:
        pooled, weights = slow_pooling(model.vision_model.head, model.vision_model.post_layernorm(tokens))
        similarity = normalize(pooled, dim=-1) @ normalize(text, dim=-1).T
        return similarity * model.logit_scale.exp() + model.logit_bias, weights

    engine = xai.Engine(model, tokenizer=encoder.tokenizer)
    ours = engine.explain(IMAGES.double(), "legrad", xai.Text(TEXTS[0]))["legrad"]
    vision = copy.deepcopy(model)
    vision.forward = vision.get_image_features
    blocks = [f"vision_model.encoder.layers.{i}" for i in range(3)]
    assert_is_mean(ours, replica(vision, IMAGES, blocks, of_text, 0))


def test_it_shares_the_pass_and_batches_do_not_matter() -> None:
    engine = xai.Engine(timm_siglip())
    methods = ["legrad", "generic-attention", "grad-cam:layer=blocks.1", "rollout"]
    together = engine.explain(IMAGES, methods, target=1)
    for name in methods:
        for i in range(2):
            alone = engine.explain(IMAGES[i : i + 1], name, target=1)[name]
            torch.testing.assert_close(together[name].raw[i], alone.raw[0], atol=1e-6, rtol=1e-4)


def test_bfloat16_is_close() -> None:
    model = timm_siglip().bfloat16()
    expected = wide_map(model, 1).raw
    ours = xai.Engine(model).explain(IMAGES.bfloat16(), "legrad", target=1)["legrad"].raw
    assert ours.dtype == torch.float32
    assert float((ours - expected).abs().amax()) < 0.05 * float(expected.amax())


def test_blocks_run_once_without_a_graph_and_the_pooling_once_more() -> None:
    model: Any = timm_siglip()
    engine = xai.Engine(model)
    engine.adapter(IMAGES)
    blocks, pooled = [], []
    model.blocks[1].register_forward_hook(lambda _, __, output: blocks.append((output.is_meta, output.requires_grad)))
    model.attn_pool.register_forward_hook(lambda _, __, output: pooled.append((len(output), output.requires_grad)))
    engine.explain(IMAGES, "legrad", target=[[0, 1, 2]] * 2)
    assert blocks == [(False, False), (True, False)]
    assert pooled == [(2, False), (2 * 2, True)]


def test_a_score_that_does_not_depend_on_the_pooling() -> None:
    with pytest.raises(NotConnectedError, match="the attention in 'attn_pool'"):
        xai.Engine(timm_siglip()).explain(IMAGES, "legrad", target=lambda output: output.detach()[:, 0])


class Outside(Pooling):
    """Adds residuals outside of modules. No module input is known to be the tokens of the last block."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(32) for _ in range(3))
        self.attends = nn.ModuleList(nn.MultiheadAttention(32, 4, batch_first=True) for _ in range(2))

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.embed(images)
        for norm, attend in zip(self.norms, self.attends, strict=False):
            tokens = tokens + attend(*[norm(tokens)] * 3)[0]
        return self.head(self.pooled(self.norms[2](tokens)))


def test_residuals_outside_of_modules_before_the_pooling_are_rejected() -> None:
    with pytest.raises(UnsuitableError, match="grad-cam"):
        xai.Engine(settled(Outside())).explain(IMAGES, "legrad")
