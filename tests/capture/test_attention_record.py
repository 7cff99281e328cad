"""The record of attention against what models give themselves, whole and row by row, and nothing left behind."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision.models import SwinTransformer
from vit_pytorch import ViT
from vit_pytorch.simple_vit import SimpleViT

import xai_core as xai
from support.attention_models import (
    HUGGING_FACE,
    Matrices,
    attention_pooling,
    slow_hugging_face,
    slow_multi_head,
    slow_timm,
    slow_vit_pytorch,
    with_attention,
)
from support.models import SmallCNN, fused_vit, settled, torchvision_vit
from support.observing import Largest, counted
from xai_core.errors import NoAttentionError, NonFiniteInputError, OptionError, RowError

OTHERS: dict[str, tuple[Callable[[], nn.Module], Callable[[Any, Tensor], Matrices], int, str]] = {
    # model, how to read it slowly, prefix tokens, the name of the last layer
    "timm": (fused_vit, slow_timm, 1, "blocks.2.attn"),
    "torchvision": (
        torchvision_vit, slow_multi_head, 1, "encoder.layers.encoder_layer_2.self_attention",
    ),
    "vit-pytorch": (
        lambda: ViT(image_size=32, patch_size=8, num_classes=5, dim=32, depth=3, heads=4, mlp_dim=64),
        slow_vit_pytorch, 1, "transformer.layers.2.0",
    ),
    "vit-pytorch SimpleViT": (
        lambda: SimpleViT(image_size=32, patch_size=8, num_classes=5, dim=32, depth=3, heads=4, mlp_dim=64),
        slow_vit_pytorch, 0, "transformer.layers.2.0",
    ),
    "cifar-vit": (
        lambda: xai.load_model("cifar-vit:patch=8,dim=32,heads=4,depth=3,dropout=0").model,
        slow_multi_head, 1, "blocks.2.attention",
    ),
}  # fmt: skip
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))


def assert_record(record: xai.AttentionRecord, matrices: Matrices, prefix: int) -> None:
    assert len(record.layers) == len(record.weights) == len(matrices)
    for layer, matrix in zip(record.layers, matrices, strict=True):
        assert (layer.weights.dtype, layer.heads, layer.windows) == (torch.float32, 4, 1)
        assert (layer.grid, [*layer.elements]) == ((4, 4), [*range(prefix, prefix + 16)])
        assert [*layer.rows] == [*range(prefix + 16)]
        torch.testing.assert_close(layer.weights.double(), matrix.double(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", HUGGING_FACE)
def test_hugging_face_models_give_the_same(name: str) -> None:
    make, prefix, _ = HUGGING_FACE[name]
    eager, fused = (with_attention(make, implementation)() for implementation in ("eager", "sdpa"))
    fused.load_state_dict(settled(eager).state_dict())
    with torch.no_grad():
        matrices = copy.deepcopy(eager).double()(IMAGES.double(), output_attentions=True).attentions
    for model in (eager, fused.eval()):
        record = xai.Engine(model).attention(IMAGES)
        assert_record(record, matrices, prefix)
        assert len({*record.names}) == 3
        assert all("attn" in layer or "attention" in layer for layer in record.names)


def test_attention_pooling_is_a_layer_of_one_query() -> None:
    model = settled(attention_pooling())
    *blocks, pooling = xai.Engine(model).attention(IMAGES).layers
    assert_record(xai.AttentionRecord(tuple(blocks)), slow_hugging_face(model, IMAGES), 0)
    assert (pooling.name, pooling.weights.shape) == ("vision.head.attention", (2, 4, 1, 16))
    assert (pooling.grid, pooling.elements) == ((4, 4), (*range(16),))


@pytest.mark.parametrize("name", OTHERS)
def test_other_libraries_give_the_same(name: str) -> None:
    make, slow, prefix, last = OTHERS[name]
    model = settled(make())
    with torch.no_grad():
        matrices = slow(copy.deepcopy(model).double(), IMAGES.double())
    record = xai.Engine(model).attention(IMAGES)
    assert_record(record, matrices, prefix)
    assert record.names[-1] == last


ROWS: list[tuple[Any, list[int]]] = [
    (0, [0]), (-1, [16]), ([0], [0]), ((3, -2, 3), [3, 15, 3]), (slice(2, 6), [2, 3, 4, 5]),
    (slice(-2, None), [15, 16]), (slice(None, None, -8), [16, 8, 0]), (range(1, 4), [1, 2, 3]),
    (torch.tensor([5, 0]), [5, 0]), (np.array([7]), [7]),
]  # fmt: skip


@pytest.mark.parametrize("make", [fused_vit, torchvision_vit, OTHERS["vit-pytorch"][0]])
@pytest.mark.parametrize(("rows", "numbers"), ROWS)
def test_rows(make: Callable[[], nn.Module], rows: Any, numbers: list[int]) -> None:
    engine = xai.Engine(settled(make()))
    whole, some = engine.attention(IMAGES), engine.attention(IMAGES, rows=rows)
    for all_rows, taken in zip(whole.layers, some.layers, strict=True):
        assert [*taken.rows] == numbers
        torch.testing.assert_close(taken.weights, all_rows.weights[:, :, numbers])
        assert taken.weights.untyped_storage().nbytes() == taken.weights.nbytes  # no matrix stays alive behind it


def test_one_row_of_a_long_sequence_makes_no_matrix() -> None:
    engine, images = xai.Engine(fused_vit(img_size=256, depth=1).eval()), torch.randn(1, 3, 256, 256)
    engine.adapter(images)
    with Largest() as largest:
        record = engine.attention(images, rows=[0])
    assert record.layers[0].weights.shape == (1, 4, 1, 1025)
    assert largest.made < 1025**2


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (17, RowError, "rows=17.*'blocks.0.attn' has 17 query tokens; expected indices from -17 to 16"),
        ([0, -18], RowError, "out of range"),
        (slice(20, 30), RowError, "out of range"),
        ([], RowError, "out of range"),
        ("all", OptionError, "an int, a slice or a sequence of ints, got 'all'"),
        (0.5, OptionError, "got 0.5"),
    ],
)
def test_rows_that_are_not_there(rows: Any, error: type[xai.XAIError], message: str) -> None:
    model = fused_vit()
    with pytest.raises(error, match=message):
        xai.Engine(model).attention(IMAGES, rows=rows)
    assert model.training


def test_class_attention_layers_have_one_query() -> None:
    model: Any = timm.create_model("cait_xxs24_224", img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=4)
    engine = xai.Engine(settled(model))
    mixing, _, _, alone = engine.attention(IMAGES).layers
    assert (mixing.name, mixing.weights.shape, mixing.grid, mixing.elements) == (
        "blocks.0.attn",
        (2, 4, 16, 16),
        (4, 4),
        (*range(16),),
    )
    assert (alone.name, alone.weights.shape) == ("blocks_token_only.1.attn", (2, 4, 1, 17))
    assert alone.elements == (*range(1, 17),)
    tokens: list[Tensor] = []
    model.blocks_token_only[1].attn.register_forward_pre_hook(lambda _, args: tokens.append(args[0]))
    with torch.no_grad():
        model(IMAGES)
        attention = model.blocks_token_only[1].attn
        q, k = (linear(tokens[0]).unflatten(-1, (4, 8)).transpose(1, 2) for linear in (attention.q, attention.k))
        torch.testing.assert_close(alone.weights, (q[:, :, :1] @ k.mT / 8**0.5).softmax(-1))
    with pytest.raises(RowError, match=r"'blocks_token_only\.0\.attn' has 1 query tokens"):
        engine.attention(IMAGES, rows=5)


def test_windows_come_as_they_are() -> None:
    """Windows of an image next to each other, and a grid only where the keys are places of the image in order."""
    images = torch.randn(2, 3, 64, 64)
    swin: Any = timm.create_model(
        "swin_tiny_patch4_window7_224",
        img_size=64,
        window_size=4,
        embed_dim=24,
        depths=(2, 2, 2, 2),
        num_classes=5,
    )
    first, *between, last = xai.Engine(swin.eval()).attention(images, rows=[0, -1]).layers
    assert (first.windows, first.weights.shape, first.grid) == (16, (2 * 16, 3, 2, 16), None)
    assert (last.windows, last.weights.shape, last.grid) == (1, (2, 24, 2, 4), (2, 2))
    grids = {(layer.grid, layer.elements) for layer in between if layer.windows == 1}
    assert grids == {((4, 4), (*range(16),)), ((2, 2), (*range(4),))}
    [alone] = xai.Engine(swin).attention(images[1:], rows=[0, -1]).layers[:1]
    torch.testing.assert_close(alone.weights, first.weights[16:])

    shifted = (
        xai.Engine(SwinTransformer([4, 4], 24, [2], [3], [7, 7], num_classes=5).eval()).attention(images).layers[1]
    )
    assert (shifted.windows, shifted.weights.shape, shifted.grid) == (9, (18, 3, 49, 49), None)

    partitioned = timm.create_model(
        "maxvit_rmlp_pico_rw_256", img_size=64, depths=(1, 1), embed_dim=(32, 32), num_classes=5
    ).eval()
    first, *_ = xai.Engine(partitioned).attention(images).layers
    assert (first.windows, first.weights.shape, first.grid) == (64, (128, 1, 4, 4), None)

    pooled = timm.create_model("pvt_v2_b0", depths=(1, 1, 1, 1), embed_dims=(16, 32, 40, 64), num_classes=5).eval()
    first, *_, last = xai.Engine(pooled).attention(images).layers
    assert (first.windows, first.weights.shape, first.grid, first.elements) == (1, (2, 1, 256, 4), (2, 2), (0, 1, 2, 3))


def test_attention_between_channels_has_no_grid() -> None:
    layers = xai.Engine(timm.create_model("xcit_nano_12_p8_224", img_size=64).eval()).attention(
        torch.randn(1, 3, 64, 64)
    )
    assert layers.layers[0].weights.shape == (1, 4, 32, 32)
    assert layers.layers[0].grid is None


def test_models_without_attention() -> None:
    with pytest.raises(NoAttentionError, match=r"no attention.*was observed"):
        xai.Engine(SmallCNN()).attention(IMAGES)


def test_images_that_make_no_sense() -> None:
    engine = xai.Engine(fused_vit())
    with pytest.raises(NonFiniteInputError, match=r"\[0, 1\]"):
        engine.attention(IMAGES / 0)
    engine.explain(IMAGES, "rollout")  # what such images show of the model is not remembered


def test_one_forward_and_nothing_left_on_the_model() -> None:
    model = fused_vit().train()
    engine = xai.Engine(model)
    engine.adapter(IMAGES)
    with counted(model) as counts:
        record = engine.attention(IMAGES)
    assert counts == {"forward": 1, "backward": 0}
    assert all(module.training and not module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert not any(weights.requires_grad for weights in record.weights)


def test_half_precision_and_autocast_give_float32() -> None:
    model = settled(fused_vit())
    whole = xai.Engine(model).attention(IMAGES)
    with torch.autocast("cpu", torch.bfloat16):
        automatic = xai.Engine(model).attention(IMAGES)
    half = xai.Engine(copy.deepcopy(model).bfloat16()).attention(IMAGES)
    for record in (automatic, half):
        for ours, theirs in zip(record.weights, whole.weights, strict=True):
            assert ours.dtype == torch.float32
            torch.testing.assert_close(ours, theirs, atol=0.05, rtol=0.2)
            torch.testing.assert_close(ours.sum(-1), torch.ones(2, 4, 17))


def test_a_model_that_is_its_own_layer() -> None:
    class Alone(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            tokens = images.flatten(1).unflatten(1, (8, -1))[:, None]
            return nn.functional.scaled_dot_product_attention(tokens, tokens, tokens).mean((1, 2))

    [layer] = xai.Engine(Alone()).attention(IMAGES).layers
    assert (layer.name, layer.weights.shape, layer.grid) == ("0", (2, 1, 8, 8), None)
