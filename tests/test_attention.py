"""Rollout and head attention against float64 replicas that read whole attention matrices the slow way."""

import copy
import functools
import re
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision.models import swin_t, vit_b_16
from transformers import (
    CLIPConfig,
    CLIPForImageClassification,
    CLIPVisionConfig,
    CLIPVisionModel,
    DeiTConfig,
    DeiTForImageClassificationWithTeacher,
    Dinov2Config,
    Dinov2ForImageClassification,
    SiglipConfig,
    SiglipForImageClassification,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTConfig,
    ViTForImageClassification,
)
from transformers.modeling_outputs import ImageClassifierOutput
from vit_pytorch import ViT
from vit_pytorch.simple_vit import SimpleViT

import xai_core as xai
from conftest import Largest, assert_same, captured_by, fused_vit, settled
from xai_attention.gating import GateExplainer
from xai_core.errors import LayerError, NoAttentionError, OptionError, UnsuitableError
from xai_core.model.attention import ROW_BLOCK, DotProductAttention
from xai_core.plugin import AttentionLayer
from xai_core.plugins.registry import registry

Matrices = list[Tensor]
"""Per layer [B,heads,N,N] in float64."""


def hooked(model: nn.Module, images: Tensor, modules: list[nn.Module], pick: Callable[[Any, Any], Tensor]) -> Matrices:
    found: Matrices = []
    handles = [m.register_forward_hook(lambda _, args, out: found.append(pick(args, out))) for m in modules]
    model(images)
    for handle in handles:
        handle.remove()
    return found


def slow_timm(model: Any, images: Tensor) -> Matrices:
    for block in model.blocks:
        block.attn.fused_attn = False
    return hooked(model, images, [block.attn.attn_drop for block in model.blocks], lambda args, _: args[0])


def slow_multi_head(model: nn.Module, images: Tensor) -> Matrices:
    """Ask every `nn.MultiheadAttention` for its weights, which it does not give when it runs in its model."""
    found: Matrices = []
    for module in model.modules():
        if isinstance(module, nn.MultiheadAttention):
            forward = module.forward

            def ask(*args: Any, forward: Any = forward, **kwargs: Any) -> Any:
                output, weights = forward(*args, **{**kwargs, "need_weights": True, "average_attn_weights": False})
                found.append(weights)
                return output, None

            module.forward = ask
    model.train()  # keeps nn.TransformerEncoderLayer off its fast path; dropout is zero in these models
    model(images)
    return found


def slow_hugging_face(model: Any, images: Tensor) -> Matrices:
    model.set_attn_implementation("eager")
    return list(model(images, output_attentions=True).attentions)


def slow_vit_pytorch(model: nn.Module, images: Tensor) -> Matrices:
    attends = [module for module in model.modules() if isinstance(module, nn.Softmax)]
    return hooked(model, images, attends, lambda _, output: output)


class Encoder(nn.Module):
    """A plain `nn.TransformerEncoder` with a class token."""

    def __init__(self, batch_first: bool, norm_first: bool, mean: bool = False) -> None:
        super().__init__()
        self.batch_first, self.mean = batch_first, mean
        self.patches = nn.Conv2d(3, 32, 8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, 0.0, batch_first=batch_first, norm_first=norm_first)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(32, 5)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(tokens), -1, -1), tokens], 1)
        if not self.batch_first:
            tokens = tokens.transpose(0, 1)
        tokens = self.encoder(tokens)
        tokens = tokens if self.batch_first else tokens.transpose(0, 1)
        return self.head(tokens.mean(1) if self.mean else tokens[:, 0])


TINY: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
TINY_TEXT = {**TINY, "bos_token_id": 0, "eos_token_id": 1}


class Pooled(nn.Module):
    """Scores from what a vision model pools: of its class token, or by attention."""

    def __init__(self, vision: Any) -> None:
        super().__init__()
        self.vision, self.head = vision, nn.Linear(32, 5)

    def set_attn_implementation(self, implementation: str) -> None:
        self.vision.set_attn_implementation(implementation)

    def forward(self, images: Tensor, **options: Any) -> ImageClassifierOutput:
        given = self.vision(images, **options)
        return ImageClassifierOutput(logits=self.head(given.pooler_output), attentions=given.attentions)


HUGGING_FACE: dict[str, tuple[Callable[[], Any], int, str]] = {
    # model, prefix tokens, what the head reads
    "ViT": (lambda: ViTForImageClassification(ViTConfig(**TINY)), 1, "class"),
    "DeiT": (lambda: DeiTForImageClassificationWithTeacher(DeiTConfig(**TINY)), 2, "class"),
    "DINOv2": (lambda: Dinov2ForImageClassification(Dinov2Config(**TINY)), 1, "class"),
    "CLIP, class token": (lambda: Pooled(CLIPVisionModel(CLIPVisionConfig(**TINY))), 1, "class"),
    "CLIP, mean over patches": (
        lambda: CLIPForImageClassification(CLIPConfig(vision_config=TINY, text_config=TINY_TEXT)), 1, "patches",
    ),
    "SigLIP, mean": (
        lambda: SiglipForImageClassification(
            SiglipConfig(vision_config={**TINY, "vision_use_head": False}, text_config=TINY_TEXT)
        ),
        0, "all",
    ),
}  # fmt: skip


def attention_pooling() -> nn.Module:
    return Pooled(SiglipVisionModel(SiglipVisionConfig(**TINY)))


def with_attention(make: Callable[[], Any], implementation: str) -> Callable[[], nn.Module]:
    """Make it with attention that is fused ("sdpa") or written out ("eager")."""

    def made() -> nn.Module:
        model = make()
        model.set_attn_implementation(implementation)
        return model

    return made


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[Any, Tensor], Matrices], int, int, str]] = {
    # model, how to read it slowly, side of the images, prefix tokens, what the head reads
    "timm vit_tiny": (lambda: timm.create_model("vit_tiny_patch16_224"), slow_timm, 224, 1, "class"),
    "timm deit_tiny_distilled": (
        lambda: timm.create_model("deit_tiny_distilled_patch16_224"), slow_timm, 224, 2, "class",
    ),
    "timm dinov2 with registers": (
        lambda: timm.create_model("vit_small_patch14_reg4_dinov2", img_size=98, num_classes=5),
        slow_timm, 98, 5, "class",
    ),
    "timm mean over patches": (lambda: fused_vit(global_pool="avg"), slow_timm, 32, 1, "patches"),
    "timm without class token": (lambda: fused_vit(global_pool="avg", class_token=False), slow_timm, 32, 0, "all"),
    "torchvision vit_b_16": (lambda: vit_b_16(image_size=64), slow_multi_head, 64, 1, "class"),
    **{
        f"hugging face {name}, {implementation}": (
            with_attention(make, implementation), slow_hugging_face, 32, prefix, reads,
        )
        for name, (make, prefix, reads) in HUGGING_FACE.items() for implementation in ("sdpa", "eager")
    },
    "cifar-vit": (
        lambda: xai.load_model("cifar-vit:patch=8,dim=32,heads=4,depth=3,dropout=0").model,
        slow_multi_head, 32, 1, "class",
    ),
    "vit-pytorch": (
        lambda: ViT(image_size=32, patch_size=8, num_classes=5, dim=32, depth=3, heads=4, mlp_dim=64),
        slow_vit_pytorch, 32, 1, "class",
    ),
    "vit-pytorch mean": (
        lambda: ViT(image_size=32, patch_size=8, num_classes=5, dim=32, depth=3, heads=4, mlp_dim=64, pool="mean"),
        slow_vit_pytorch, 32, 0, "all",
    ),
    "simple vit": (
        lambda: SimpleViT(image_size=32, patch_size=8, num_classes=5, dim=32, depth=3, heads=4, mlp_dim=64),
        slow_vit_pytorch, 32, 0, "all",
    ),
    "nn.TransformerEncoder": (lambda: Encoder(True, True), slow_multi_head, 32, 1, "class"),
    "nn.TransformerEncoder, tokens first": (lambda: Encoder(False, False), slow_multi_head, 32, 1, "class"),
    "nn.TransformerEncoder, mean": (lambda: Encoder(True, False, mean=True), slow_multi_head, 32, 1, "all"),
}  # fmt: skip
FEW = ["timm deit_tiny_distilled", "timm mean over patches", "torchvision vit_b_16", "hugging face ViT, eager"]


@functools.cache
def case(name: str) -> tuple[nn.Module, Tensor, Matrices, int, slice]:
    """A model, which no test may change, images, its matrices, prefix tokens, and the rows that the head reads."""
    torch.manual_seed(0)
    make, slow, side, prefix, reads = CASES[name]
    model = settled(make())
    images = torch.randn(2, 3, side, side)
    with torch.no_grad():
        matrices = slow(copy.deepcopy(model).double(), images.double())
    rows = {"class": slice(0, 1), "patches": slice(prefix, None), "all": slice(0, None)}[reads]
    return model, images, matrices, prefix, rows


def rollout_replica(
    matrices: Matrices, prefix: int, rows: slice, fuse: Callable[[Tensor], Tensor], discard: float = 0
) -> Tensor:
    """Abnar and Zuidema, section 4, with whole matrices, for one image at a time."""
    maps = []
    for image in range(len(matrices[0])):
        tokens = matrices[0].shape[-1]
        rolled = torch.eye(tokens, dtype=torch.float64)
        for layer in matrices:
            fused = fuse(layer[image])
            keep = fused[0, 0].clone()
            smallest = fused.flatten().argsort()[: int(tokens * tokens * discard)]
            fused.flatten()[smallest] = 0
            fused[0, 0] = keep
            mixed = 0.5 * fused + 0.5 * torch.eye(tokens, dtype=torch.float64)
            rolled = (mixed / mixed.sum(1, keepdim=True)) @ rolled
        maps.append(rolled[rows].mean(0)[prefix:])
    side = round(len(maps[0]) ** 0.5)
    return torch.stack(maps).view(-1, side, side)


def normalized(raw: Tensor, size: tuple[int, int]) -> Tensor:
    maps = nn.functional.interpolate(raw[:, None], size, mode="bilinear")[:, 0]
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low)


def assert_equals(saliency: xai.Saliency, replica: Tensor) -> None:
    torch.testing.assert_close(saliency.raw.double(), replica, atol=1e-6, rtol=1e-5)
    expected = normalized(replica, (saliency.values.shape[-2], saliency.values.shape[-1]))
    torch.testing.assert_close(saliency.values.double(), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", CASES)
def test_rollout_equals_its_replica(name: str) -> None:
    model, images, matrices, prefix, rows = case(name)
    ours = xai.Engine(model).explain(images, "rollout")["rollout"]
    assert_equals(ours, rollout_replica(matrices, prefix, rows, lambda heads: heads.mean(0)))
    assert ours.parts is not None
    for lowest in range(len(matrices)):
        above = rollout_replica(matrices[lowest:], prefix, rows, lambda heads: heads.mean(0))
        torch.testing.assert_close(ours.parts[:, lowest].double(), above, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", FEW)
@pytest.mark.parametrize("fusion", ["mean", "max", "min"])
@pytest.mark.parametrize("discard", [0, 0.6])
def test_rollout_with_options_equals_its_replica(name: str, fusion: str, discard: float) -> None:
    model, images, matrices, prefix, rows = case(name)
    fuse = {"mean": lambda h: h.mean(0), "max": lambda h: h.amax(0), "min": lambda h: h.amin(0)}[fusion]
    explainer = xai.create_explainer("rollout", heads=fusion, discard_ratio=discard)
    # In float64, as rounding to float32 decides which of two nearly equal numbers is discarded.
    ours = xai.Engine(copy.deepcopy(model).double()).explain(images.double(), explainer)
    assert_equals(ours["rollout"], rollout_replica(matrices, prefix, rows, fuse, discard))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("layer", [-1, 0])
def test_head_attention_equals_its_replica(name: str, layer: int) -> None:
    model, images, matrices, prefix, rows = case(name)
    ours = xai.Engine(model).explain(images, xai.create_explainer("head-attention", layer=layer))["head-attention"]
    heads = matrices[layer][:, :, rows].mean(2)[..., prefix:]
    side = round(heads.shape[-1] ** 0.5)
    heads = heads.unflatten(-1, (side, side))
    assert ours.parts is not None
    torch.testing.assert_close(ours.parts.double(), heads, atol=1e-6, rtol=1e-5)
    assert_equals(ours, heads.mean(1))


def test_head_attention_at_any_size_that_the_model_takes() -> None:
    model = settled(timm.create_model("vit_tiny_patch16_224", patch_size=8, depth=2, dynamic_img_size=True))
    images = torch.randn(2, 3, 224, 336)
    ours = xai.Engine(model).explain(images, "head-attention")["head-attention"]
    with torch.no_grad():
        heads = slow_timm(copy.deepcopy(model).double(), images.double())[-1][:, :, 0, 1:].unflatten(-1, (28, 42))
    assert ours.values.shape == (2, 224, 336)
    assert ours.parts is not None
    torch.testing.assert_close(ours.parts.double(), heads, atol=1e-6, rtol=1e-5)


def test_head_attention_computes_the_class_tokens_row_only(monkeypatch: pytest.MonkeyPatch) -> None:
    from xai_core.model.attention import DotProductAttention

    asked = []
    rows = DotProductAttention.rows
    monkeypatch.setattr(
        DotProductAttention, "rows", lambda self, *args: (asked.append((id(self), *args)), rows(self, *args))[1]
    )
    xai.Engine(fused_vit().eval()).explain(torch.randn(2, 3, 32, 32), "head-attention")
    assert [row[1:] for row in asked] == [(0, 1)]


def test_rollout_never_holds_a_full_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    model = settled(fused_vit(img_size=128, patch_size=8)).eval()
    sizes = []
    softmax = torch.Tensor.softmax
    monkeypatch.setattr(torch.Tensor, "softmax", lambda t, *a: (sizes.append(t.shape[-2]), softmax(t, *a))[1])
    xai.Engine(model).explain(torch.randn(1, 3, 128, 128), "rollout")
    assert max(sizes) == 128
    assert len(sizes) == 1 + 2 * 3  # one row of the last layer, three blocks of 257 rows in the others


def largest_tensor(run: Callable[[], Any]) -> int:
    """The number of elements of the largest tensor that a run makes, in the forward and backward as well."""
    with Largest() as largest:
        run()
    return largest.made


@pytest.mark.parametrize("side", [128, 256])
def test_no_tensor_is_larger_than_a_block_of_rows(side: int) -> None:
    """So that memory grows as the number of tokens does, and not as its square."""
    model, images = settled(fused_vit(img_size=side)), torch.randn(1, 3, side, side)
    engine, block = xai.Engine(model), 4 * ROW_BLOCK * ((side // 8) ** 2 + 1)
    engine.adapter(images)
    allowed = max(block, largest_tensor(lambda: model(images)))
    for method in ("head-attention", "raw-attention", "rollout", "gradient-rollout", "generic-attention"):
        assert largest_tensor(functools.partial(engine.explain, images, method, target=1)) <= allowed


def test_values_are_kept_for_gradients_only(images: Tensor) -> None:
    model = fused_vit().eval()
    held = {"q": 3 * 17 * 32 * 4, "k": 3 * 17 * 32 * 4}
    for layer in captured_by(model, images, xai.Needs(attention=True)).attention:
        assert isinstance(layer, DotProductAttention)
        assert {name: layer._make(name).untyped_storage().nbytes() for name in held} == held
        with pytest.raises(KeyError):
            layer._make("v")


def test_masks_are_part_of_attention() -> None:
    """Attention as the kernel computes it, for boolean, additive and causal masks, and grouped heads."""
    from xai_core.model.attention import AttentionReader

    q, k, v = torch.randn(2, 4, 6, 8), torch.randn(2, 2, 6, 8), torch.eye(6).expand(2, 2, 6, 6)
    options: list[dict[str, Any]] = [
        {"attn_mask": torch.rand(6, 6) > 0.3},
        {"attn_mask": torch.randn(2, 1, 6, 6)},
        {"attn_mask": torch.randn(2, 1, 1, 6)},
        {"is_causal": True},
        {"scale": 0.3},
    ]
    for option in options:
        if option.get("attn_mask") is not None and option["attn_mask"].dtype == torch.bool:
            option["attn_mask"].fill_diagonal_(True)
        found: list[AttentionLayer] = []
        with AttentionReader(2, found.append):
            weights = nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=True, **option)
        torch.testing.assert_close(found[0].rows(), weights)
        torch.testing.assert_close(found[0].rows(2, 5), weights[:, :, 2:5])


def test_padding_and_masks_of_multi_head_attention() -> None:
    from xai_core.model.attention import AttentionReader

    attention = nn.MultiheadAttention(16, 4, kdim=12, vdim=12, batch_first=True)
    query, key = torch.randn(2, 5, 16), torch.randn(2, 7, 12)
    for options in (
        {"key_padding_mask": torch.tensor([[False] * 7, [False] * 4 + [True] * 3])},
        {"attn_mask": torch.randn(8, 5, 7)},
        {"attn_mask": torch.rand(5, 7) > 0.8},
    ):
        found: list[AttentionLayer] = []
        with AttentionReader(2, found.append):
            _, weights = attention(query, key, key, average_attn_weights=False, **options)
        torch.testing.assert_close(found[0].rows(), weights)


@pytest.mark.parametrize("name", HUGGING_FACE)
def test_fused_and_written_out_attention_of_hugging_face_give_the_same_maps(name: str, images: Tensor) -> None:
    make, _, _ = HUGGING_FACE[name]
    fused, eager = (with_attention(make, implementation)() for implementation in ("sdpa", "eager"))
    fused.load_state_dict(settled(eager).state_dict())
    methods = ["rollout", "head-attention", "raw-attention", "gradient-rollout", "generic-attention"]
    ours, theirs = (xai.Engine(model.eval()).explain(images, methods, target=1) for model in (fused, eager))
    assert_same(ours, theirs)


OVER_TOKENS = ["attention-flow", "generic-attention", "gradient-rollout", "head-attention", "raw-attention", "rollout"]
METHODS = [
    name
    for name, entry in registry().entries["explainers"].items()
    if entry.made_by.__module__.startswith("xai_attention") and not issubclass(entry.made_by, GateExplainer)
]
NOT_GLOBAL: dict[str, Callable[[], nn.Module]] = {
    "torchvision swin": lambda: swin_t(num_classes=5),
    "swin": lambda: timm.create_model("swin_tiny_patch4_window7_224", img_size=64, window_size=4, num_classes=5),
    "maxvit": lambda: timm.create_model("maxvit_rmlp_pico_rw_256", img_size=64, num_classes=5),
    "pvt": lambda: timm.create_model("pvt_v2_b0", num_classes=5),
}


@pytest.mark.parametrize("name", NOT_GLOBAL)
def test_windows_and_pyramids_are_refused_with_what_is_defined_there(name: str) -> None:
    engine, images = xai.Engine(NOT_GLOBAL[name]().eval()), torch.randn(1, 3, 64, 64)
    assert {"class-attention", *OVER_TOKENS} <= {*METHODS}
    for method in METHODS:
        assert_refused(engine, images, method)


@pytest.mark.parametrize("make", [attention_pooling, lambda: timm.create_model("cait_xxs24_224", **SMALL)])
def test_where_one_query_asks_there_is_class_attention(make: Callable[[], nn.Module], images: Tensor) -> None:
    engine = xai.Engine(settled(make()))
    for method in OVER_TOKENS:
        assert "class-attention" in assert_refused(engine, images, method)


SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 4}


def assert_refused(engine: xai.Engine, images: Tensor, method: str) -> list[str]:
    """That the error names methods, and that each of them works."""
    with pytest.raises(UnsuitableError) as refused:
        engine.explain(images, method)
    _, _, advice = str(refused.value).rpartition("use ")
    named = [word for word in re.findall(r"[\w-]+", advice) if word in xai.list_explainers()]
    assert named, refused.value
    engine.explain(images, named)
    return named


def test_models_without_attention() -> None:
    mixer = xai.Engine(timm.create_model("mixer_s32_224", img_size=64, num_classes=5).eval())
    with pytest.raises(NoAttentionError, match="no attention"):
        mixer.explain(torch.randn(1, 3, 64, 64), "rollout")


def test_options_that_make_no_sense(images: Tensor) -> None:
    with pytest.raises(OptionError, match="mean, max or min"):
        xai.create_explainer("rollout", heads="all")
    with pytest.raises(OptionError, match="discard_ratio"):
        xai.create_explainer("rollout", discard_ratio=1.0)
    with pytest.raises(LayerError, match="this model has 3"):
        xai.Engine(fused_vit().eval()).explain(images, "head-attention:layer=3")
