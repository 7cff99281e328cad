"""LeGrad against a float64 replica in which each block's tokens go through the head by hand, and against torchcam."""

import copy
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torchcam.methods import LeGrad
from torchvision.models import SwinTransformer

import xai_core as xai
from support.attention_references import Cut, assert_is
from support.explaining import captured_by
from support.explicit_attention import case, eager
from support.models import SmallCNN, fused_vit, settled
from support.siamese import RightFirst, Siamese, pair
from support.strange_attention import Parallel, vit
from xai_core.errors import LayerError, NotCapturedError, NotConnectedError, UnsuitableError
from xai_core.plugin import AttentionLayer

HEADS: dict[str, tuple[list[str], Callable[[Any, Tensor], Tensor]]] = {
    # the blocks, and what makes scores of the tokens of one
    "timm": ([f"blocks.{i}" for i in range(3)], lambda m, z: m.head(m.norm(z)[:, 0])),
    "timm mean over patches": ([f"blocks.{i}" for i in range(3)], lambda m, z: m.head(m.fc_norm(z[:, 1:].mean(1)))),
    "torchvision": (
        [f"encoder.layers.encoder_layer_{i}" for i in range(3)],
        lambda m, z: m.heads(m.encoder.ln(z)[:, 0]),
    ),
    "nn.TransformerEncoder, tokens first": ([f"encoder.layers.{i}" for i in range(3)], lambda m, z: m.head(z[0])),
    "nn.TransformerEncoder, mean": ([f"encoder.layers.{i}" for i in range(3)], lambda m, z: m.head(z.mean(1))),
    "hugging face ViT, sdpa": (
        [f"vit.layers.{i}" for i in range(3)],
        lambda m, z: m.classifier(m.vit.layernorm(z)[:, 0]),
    ),
    "hugging face ViT, eager": (
        [f"vit.layers.{i}" for i in range(3)],
        lambda m, z: m.classifier(m.vit.layernorm(z)[:, 0]),
    ),
}


def replica(
    model: nn.Module,
    images: Tensor,
    target: int,
    blocks: list[str],
    head: Callable[[Any, Tensor], Tensor],
    prefix: int = 1,
    residual: bool = False,
) -> Tensor:
    """Bousselham et al.: the positive part of ds_l/dA_l, averaged over heads and queries, of each layer l [B,L,h,w]."""
    wide, _, matrices, tokens = eager(model, images, blocks, residual)
    maps = []
    for matrix, z in zip(matrices, tokens, strict=True):
        score = head(wide, z)[:, target].sum()
        (gradient,) = torch.autograd.grad(score, matrix, retain_graph=True)
        assert gradient.abs().max() > 0
        maps.append(gradient.clamp(min=0).mean((1, 2))[:, prefix:])
    side = round(maps[0].shape[1] ** 0.5)
    return torch.stack(maps, 1).unflatten(2, (side, side))


def assert_is_mean(saliency: xai.Saliency, layers: Tensor) -> None:
    assert saliency.parts is not None
    torch.testing.assert_close(saliency.parts.double(), layers, atol=1e-7, rtol=1e-5)
    assert_is(saliency, layers.mean(1))


@pytest.mark.parametrize("name", HEADS)
def test_it_equals_its_replica(name: str) -> None:
    model, images, prefix, _ = case(name)
    blocks, head = HEADS[name]
    adapter = xai.Engine(model).adapter(images)
    assert [block.layer for block in adapter.blocks] == blocks
    layers = replica(model, images, 1, blocks, head, prefix)
    ours = xai.Engine(model.double()).explain(images.double(), "legrad", target=1)["legrad"]
    assert_is_mean(ours, layers)


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("vit-pytorch", lambda m, z: m.mlp_head(m.transformer.norm(z)[:, 0])),
        ("vit-pytorch mean", lambda m, z: m.mlp_head(m.transformer.norm(z).mean(1))),
        ("simple vit", lambda m, z: m.linear_head(m.transformer.norm(z).mean(1))),
    ],
)
def test_residuals_added_outside_of_modules(name: str, head: Callable[[Any, Tensor], Tensor]) -> None:
    """A block's tokens are what the next one, or the last norm, is given."""
    model, images, prefix, _ = case(name)
    adapter = xai.Engine(model).adapter(images)
    assert [block.layer.partition("layers.")[2][:3] or block.layer for block in adapter.blocks] == [
        *("1.0", "2.0"),
        "transformer.norm",
    ]
    assert all(block.is_input for block in adapter.blocks)
    layers = replica(model, images, 1, [f"transformer.layers.{i}.1" for i in range(3)], head, prefix, residual=True)
    ours = xai.Engine(model.double()).explain(images.double(), "legrad", target=1)["legrad"]
    assert_is_mean(ours, layers)


@pytest.mark.parametrize("kind", [Siamese, RightFirst])
def test_each_of_two_images(kind: type[Siamese]) -> None:
    """The same encoder runs once for each image."""
    encoder, left, _, _ = case("timm")
    model: Any = pair(kind, encoder)
    blocks, head = HEADS["timm"]
    wide = copy.deepcopy(model).double()
    pairs = [(left, left.flip(3)), (left.flip(3), left)]  # each image with the image that is fixed
    both = xai.Engine(wide).explain(tuple(image.double() for image in pairs[0]), "legrad", target=1)
    for maps, (images, other) in zip(both, pairs, strict=True):
        code = wide.encoder(other.double()).detach()
        layers = replica(model.encoder, images, 1, blocks, lambda m, z, code=code: wide.compare(head(m, z), code))
        assert_is_mean(maps["legrad"], layers)


def cifar_vit() -> nn.Module:
    return settled(xai.load_model("cifar-vit:dim=32,heads=4,depth=3").model)


def test_on_cifar_vit() -> None:
    model, images = cifar_vit(), torch.randn(2, 3, 32, 32)
    layers = replica(model, images, 1, [f"blocks.{i}" for i in range(3)], lambda m, z: m.head(m.norm(z)[:, 0]))
    assert_is_mean(xai.Engine(model.double()).explain(images.double(), "legrad", target=1)["legrad"], layers)


@pytest.mark.parametrize("name", ["timm", "torchvision", "nn.TransformerEncoder, tokens first"])
def test_several_targets_at_once(name: str) -> None:
    model, images, _, _ = case(name)
    ours = xai.Engine(model.double()).explain(images.double(), "legrad", target=[[0, 2, 4]] * 2)["legrad"]
    for saliency, target in zip(ours.each, (0, 2, 4), strict=True):
        assert_is_mean(saliency, replica(model, images, target, *HEADS[name]))


@pytest.mark.parametrize("pool", ["class", "mean"])
def test_it_equals_torchcam(pool: str) -> None:
    """Which pools by the mean where it is not told otherwise, whatever the model does."""
    model, images, _, _ = case("torchvision")

    def head(tokens: Tensor) -> Tensor:
        return model.heads(model.encoder.ln(tokens)[:, 0])

    project = head if pool == "class" else None
    with LeGrad(model, list(model.encoder.layers), score_projection=project) as theirs:
        (expected,) = theirs([1, 1], model(images))
    ours = xai.Engine(model).explain(images, "legrad", target=1)["legrad"].raw
    low, high = ours.amin((1, 2), keepdim=True), ours.amax((1, 2), keepdim=True)
    difference = ((ours - low) / (high - low) - expected).abs().amax()
    assert difference < 1e-5 if pool == "class" else difference > 0.1


def test_fused_and_written_out_attention_give_the_same_map() -> None:
    model, images, _, _ = case("timm")
    written_out = copy.deepcopy(model)
    for block in written_out.blocks:
        block.attn.fused_attn = False
    fused, other = (xai.Engine(one).explain(images, "legrad", target=1)["legrad"] for one in (model, written_out))
    torch.testing.assert_close(fused.values, other.values, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [1, 5, 17])
def test_the_size_of_blocks_does_not_matter(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    model, images, _, _ = case("timm")
    whole = xai.Engine(model).explain(images, "legrad", target=1)["legrad"].raw
    parts = AttentionLayer.parts
    sizes: list[int] = []

    def smaller(layer: AttentionLayer) -> Iterator[slice]:
        for part in parts(layer, None, size):
            sizes.append(part.stop - part.start)
            yield part

    monkeypatch.setattr(AttentionLayer, "parts", smaller)
    torch.testing.assert_close(xai.Engine(model).explain(images, "legrad", target=1)["legrad"].raw, whole)
    assert max(sizes) <= size


def test_blocks_run_once_and_the_head_once_more() -> None:
    model, images, _, _ = case("timm")
    engine = xai.Engine(model)
    engine.adapter(images)
    blocks, heads = [], []
    model.blocks[1].register_forward_hook(lambda _, __, output: blocks.append(output.is_meta))
    model.head.register_forward_hook(lambda _, __, output: heads.append(len(output)))
    engine.explain(images, "legrad", target=[[0, 1, 2]] * 2)
    assert blocks == [False, True]
    assert heads == [2, 3 * 2]


def test_it_shares_the_pass() -> None:
    model, images, _, _ = case("timm")
    methods = ["legrad", "generic-attention", "grad-cam:layer=blocks.1", "hires-cam", "finer-cam", "rollout"]
    together = xai.Engine(model).explain(images, methods, target=1)
    for name in methods:
        alone = xai.Engine(model).explain(images, name, target=1)[name]
        torch.testing.assert_close(together[name].raw, alone.raw, atol=1e-7, rtol=1e-5)


def test_two_threads_on_one_model() -> None:
    model, images, _, _ = case("timm")
    batches = [images, images.flip(3)]
    expected = [xai.Engine(model).explain(batch, "legrad", target=1)["legrad"].raw for batch in batches]

    def work(i: int) -> list[Tensor]:
        engine = xai.Engine(model)
        return [engine.explain(batches[i], "legrad", target=1)["legrad"].raw for _ in range(10)]

    with ThreadPoolExecutor(2) as pool:
        for given, right in zip(pool.map(work, range(2)), expected, strict=True):
            torch.testing.assert_close(torch.stack(given), right.expand(10, -1, -1, -1))


class InPlace(nn.Module):
    """A ViT that writes to what its blocks give."""

    def __init__(self) -> None:
        super().__init__()
        self.vit = settled(fused_vit())
        self.shift = nn.Parameter(torch.randn(32))

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.vit._pos_embed(self.vit.patch_embed(images))
        for block in self.vit.blocks:
            tokens = block(tokens)
            tokens += self.shift
        return self.head(tokens)

    def head(self, tokens: Tensor) -> Tensor:
        return self.vit.head(self.vit.norm(tokens)[:, 0])


def test_a_model_that_writes_to_what_its_blocks_give() -> None:
    model, images = InPlace().eval(), torch.randn(2, 3, 32, 32)
    blocks = [f"vit.blocks.{i}" for i in range(3)]
    layers = replica(model, images, 1, blocks, lambda m, z: m.head(z + m.shift))
    assert_is_mean(xai.Engine(model.double()).explain(images.double(), "legrad", target=1)["legrad"], layers)


class Around(InPlace):
    """A ViT whose head reads the image too: what follows the last block cannot run alone."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * images.mean((1, 2, 3))[:, None].exp()


def test_blocks_that_something_goes_around_are_refused() -> None:
    with pytest.raises(UnsuitableError, match="a single sequence of tokens"):
        xai.Engine(Around().eval()).explain(torch.randn(2, 3, 32, 32), "legrad")


def small(name: str) -> nn.Module:
    return timm.create_model(name, img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=4, num_classes=5).eval()


@pytest.mark.parametrize(
    "make",
    [
        lambda: small("cait_xxs24_224"),  # the last attention is of the class token alone
        lambda: SwinTransformer([4, 4], 24, [2, 2], [3, 6], [7, 7], num_classes=5),
        lambda: vit(Parallel),
        SmallCNN,
    ],
)
def test_where_it_is_not_defined(make: Callable[[], nn.Module]) -> None:
    with pytest.raises(UnsuitableError, match="grad-cam"):
        xai.Engine(settled(make())).explain(torch.randn(1, 3, 32, 32), "legrad")


@pytest.mark.parametrize("cut", [1, 2])
def test_blocks_under_no_grad(cut: int) -> None:
    model, images = Cut(cut).eval(), torch.randn(2, 3, 32, 32)
    expected = xai.Engine(model.vit).explain(images, "legrad", target=1)["legrad"].raw
    torch.testing.assert_close(xai.Engine(model).explain(images, "legrad", target=1)["legrad"].raw, expected)


def test_layer_scores_must_be_declared_and_of_blocks() -> None:
    model, images, _, _ = case("timm")
    adapter = xai.Engine(model).adapter(images)
    with pytest.raises(NotCapturedError, match="block_scores"):
        _ = captured_by(model, images, xai.Needs(attention_gradients=True), target=1).block_attention
    with pytest.raises(LayerError, match="patch_embed"):
        captured_by(model, images, xai.Needs(block_scores=(adapter.features("patch_embed"),)), target=1)
    some = captured_by(model, images, xai.Needs(block_scores=adapter.blocks[1:]), target=1).block_attention
    every = captured_by(model, images, xai.Needs(block_scores=adapter.blocks), target=1).block_attention
    for one, same in zip(some, every[1:], strict=True):
        torch.testing.assert_close(one.gradient_rows(), same.gradient_rows())


def test_a_score_that_depends_on_nothing() -> None:
    model, images, _, _ = case("timm")
    with pytest.raises(NotConnectedError, match=r"the attention in 'blocks\.0\.attn'"):
        xai.Engine(model).explain(images, "legrad", target=lambda output: output.detach()[:, 0])
