"""Rollout and head attention against float64 replicas that read whole attention matrices the slow way."""

import copy
import functools
import re
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from timm.models.mlp_mixer import MlpMixer
from torch import Tensor, nn
from torchvision.models import SwinTransformer

import xai_core as xai
from support.attention_models import (
    CASES,
    HUGGING_FACE,
    Matrices,
    attention_pooling,
    slow_timm,
    with_attention,
)
from support.attention_references import assert_equals, read_row, rollout_replica
from support.explaining import assert_same, captured_by
from support.models import fused_vit, settled
from support.observing import Largest
from support.parameters import quick
from xai_attention.attn_lrp import AttnLRP
from xai_attention.gating import GateExplainer
from xai_core.errors import LayerError, NoAttentionError, OptionError, UnsuitableError
from xai_core.model.attention import ROW_BLOCK, DotProductAttention
from xai_core.plugin import AttentionLayer
from xai_core.plugins.registry import registry

FEW = ["timm deit_tiny_distilled", "timm mean over patches", "torchvision vit", "hugging face ViT, eager"]


@functools.cache
def case(name: str) -> tuple[nn.Module, Tensor, Matrices, int, Tensor]:
    """A model, which no test may change, images, its matrices, prefix tokens, and the row that the head reads."""
    torch.manual_seed(0)
    make, slow, side, prefix, reads = CASES[name]
    model = settled(make())
    images = torch.randn(2, 3, side, side)
    with torch.no_grad():
        matrices = slow(copy.deepcopy(model).double(), images.double())
    return model, images, matrices, prefix, read_row(reads, matrices[0].shape[-1], prefix)


@functools.cache
def engine_of(name: str) -> xai.Engine:
    """The engine of the model of a case, which reads it once for all tests."""
    return xai.Engine(case(name)[0])


@pytest.mark.parametrize("name", quick(CASES, FEW))
def test_rollout_equals_its_replica(name: str) -> None:
    _, images, matrices, prefix, row = case(name)
    ours = engine_of(name).explain(images, "rollout")["rollout"]
    assert_equals(ours, rollout_replica(matrices, prefix, row, lambda heads: heads.mean(0)))
    assert ours.parts is not None
    for lowest in range(len(matrices)):
        above = rollout_replica(matrices[lowest:], prefix, row, lambda heads: heads.mean(0))
        torch.testing.assert_close(ours.parts[:, lowest].double(), above, atol=1e-6, rtol=1e-5)


FUSIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda heads: heads.mean(0),
    "max": lambda heads: heads.amax(0),
    "min": lambda heads: heads.amin(0),
}


@pytest.mark.parametrize("name", FEW)
def test_rollout_with_options_equals_its_replica(name: str) -> None:
    model, images, matrices, prefix, row = case(name)
    options = {
        f"rollout:heads={heads},discard_ratio={share}": (heads, share) for heads in FUSIONS for share in (0, 0.6)
    }
    # In float64, as rounding to float32 decides which of two nearly equal numbers is discarded.
    ours = xai.Engine(copy.deepcopy(model).double()).explain(images.double(), [*options])
    for spec, (heads, share) in options.items():
        assert_equals(ours[spec], rollout_replica(matrices, prefix, row, FUSIONS[heads], share))


@pytest.mark.parametrize("name", quick(CASES, FEW))
def test_head_attention_equals_its_replica(name: str) -> None:
    _, images, matrices, prefix, row = case(name)
    ours = engine_of(name).explain(images, ["head-attention:layer=-1", "head-attention:layer=0"])
    for saliency, matrix in zip(ours.values(), (matrices[-1], matrices[0]), strict=True):
        heads = (row @ matrix.double())[..., prefix:]
        side = round(heads.shape[-1] ** 0.5)
        heads = heads.unflatten(-1, (side, side))
        assert saliency.parts is not None
        torch.testing.assert_close(saliency.parts.double(), heads, atol=1e-6, rtol=1e-5)
        assert_equals(saliency, heads.mean(1))


def test_head_attention_at_any_size_that_the_model_takes() -> None:
    model = settled(fused_vit(img_size=224, depth=2, dynamic_img_size=True))
    images = torch.randn(2, 3, 112, 168)
    ours = xai.Engine(model).explain(images, "head-attention")["head-attention"]
    with torch.no_grad():
        heads = slow_timm(copy.deepcopy(model).double(), images.double())[-1][:, :, 0, 1:].unflatten(-1, (14, 21))
    assert ours.values.shape == (2, 112, 168)
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


@pytest.mark.parametrize("side", [128, 192])
def test_no_tensor_is_larger_than_a_block_of_rows(side: int) -> None:
    """So that memory grows as the number of tokens does, and not as its square."""
    model, images = settled(fused_vit(img_size=side, depth=2)), torch.randn(1, 3, side, side)
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
    from xai_core.model.attention_reader import AttentionReader

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
    from xai_core.model.attention_reader import AttentionReader

    attention = nn.MultiheadAttention(16, 4, kdim=12, vdim=12, batch_first=True)
    query, key = torch.randn(2, 5, 16), torch.randn(2, 7, 12)
    padding = torch.tensor([[False] * 7, [False] * 4 + [True] * 3])
    for options in (
        {"key_padding_mask": padding},
        {"key_padding_mask": padding, "attn_mask": torch.ones(5, 7, dtype=torch.bool).triu(1)},
        {"key_padding_mask": torch.randn(2, 7), "attn_mask": torch.randn(8, 5, 7)},
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
    if entry.made_by.__module__.startswith("xai_attention") and not issubclass(entry.made_by, GateExplainer | AttnLRP)
]
NOT_GLOBAL: dict[str, Callable[[], nn.Module]] = {
    "torchvision swin": lambda: SwinTransformer([4, 4], 24, [2, 2], [3, 6], [7, 7], num_classes=5),
    "swin": lambda: timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=64, window_size=4, embed_dim=24, depths=(2, 2, 2, 2), num_classes=5
    ),
    "maxvit": lambda: timm.create_model(
        "maxvit_rmlp_pico_rw_256", img_size=64, depths=(1, 1), embed_dim=(32, 32), num_classes=5
    ),
    "pvt": lambda: timm.create_model("pvt_v2_b0", depths=(1, 1, 1, 1), embed_dims=(16, 32, 40, 64), num_classes=5),
}


@pytest.mark.parametrize("name", NOT_GLOBAL)
def test_windows_and_pyramids_are_refused_with_what_is_defined_there(name: str) -> None:
    engine, images = xai.Engine(NOT_GLOBAL[name]().eval()), torch.randn(1, 3, 64, 64)
    assert {"class-attention", *OVER_TOKENS} <= {*METHODS}
    engine.explain(images, sorted({other for method in METHODS for other in named_instead(engine, images, method)}))


@pytest.mark.parametrize(
    ("make", "supported"),
    [
        (attention_pooling, {"rollout", "gradient-rollout", "generic-attention"}),
        (lambda: timm.create_model("cait_xxs24_224", **SMALL), set()),
    ],
)
def test_where_one_query_asks_there_is_class_attention(
    make: Callable[[], nn.Module], supported: set[str], images: Tensor
) -> None:
    engine, named = xai.Engine(settled(make())), set[str]()
    for method in {*OVER_TOKENS} - supported:
        named |= (instead := named_instead(engine, images, method))
        assert "class-attention" in instead
    engine.explain(images, sorted(named))


SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 4}


def named_instead(engine: xai.Engine, images: Tensor, method: str) -> set[str]:
    """The methods that the error names, of which there is at least one."""
    with pytest.raises(UnsuitableError) as refused:
        engine.explain(images, method)
    _, _, advice = str(refused.value).rpartition("use ")
    named = {word for word in re.findall(r"[\w-]+", advice) if word in xai.list_explainers()}
    assert named, refused.value
    return named


def test_models_without_attention() -> None:
    mixer = xai.Engine(MlpMixer(img_size=64, num_blocks=2, embed_dim=32, num_classes=5).eval())
    with pytest.raises(NoAttentionError, match="no attention"):
        mixer.explain(torch.randn(1, 3, 64, 64), "rollout")


def test_options_that_make_no_sense(images: Tensor) -> None:
    with pytest.raises(OptionError, match="one of mean, max, min"):
        xai.create_explainer("rollout", heads="all")
    with pytest.raises(OptionError, match="discard_ratio"):
        xai.create_explainer("rollout", discard_ratio=1.0)
    with pytest.raises(LayerError, match="the model has 3"):
        xai.Engine(fused_vit().eval()).explain(images, "head-attention:layer=3")
