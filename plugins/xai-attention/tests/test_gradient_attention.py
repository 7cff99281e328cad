"""What is made of attention and its gradients, against float64 replicas that read whole matrices of plain attention."""

import copy
import functools
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import xai_core as xai
from support.attention_models import attention_pooling, with_attention
from support.attention_references import Cut, assert_equals, assert_is, rollout_replica
from support.explicit_attention import MODELS, case, plain
from support.models import fused_vit, settled, torchvision_vit
from support.observing import counted
from xai_core.errors import LayerError, OptionError, UnsuitableError
from xai_core.plugin import AttentionLayer


def weighted_replica(matrices: list[Tensor], gradients: list[Tensor]) -> list[Tensor]:
    """Relu of the mean over heads of gradient times attention, as one head."""
    return [(a * g).mean(1, keepdim=True).relu() for a, g in zip(matrices, gradients, strict=True)]


def generic_replica(matrices: list[Tensor], gradients: list[Tensor], prefix: int, row: Tensor) -> Tensor:
    """Chefer et al., ICCV 2021, equations 5 and 6, with whole matrices."""
    identity = torch.eye(matrices[0].shape[-1], dtype=torch.float64)
    relevance = identity.expand(len(matrices[0]), -1, -1)
    for matrix, gradient in zip(matrices, gradients, strict=True):
        relevance = relevance + (gradient * matrix).clamp(min=0).mean(1) @ relevance
    patches = (row @ (relevance - identity))[:, prefix:]
    return patches.unflatten(1, (4, 4))


@functools.cache
def in_double(name: str) -> tuple[xai.Engine, Tensor, int, Tensor, list[Tensor], list[Tensor]]:
    """A case in float64: its engine, images, prefix, row, matrices, and their gradients for class 1."""
    model, images, prefix, row = case(name)
    matrices, (gradients,) = plain(model, images, [1])
    return xai.Engine(model.double()), images.double(), prefix, row, matrices, gradients


def with_options(method: str) -> dict[str, tuple[int, Callable[[Tensor, int], Tensor]]]:
    """Specs of a method, each with its layer and with what fuses heads."""
    fusions = {"mean": torch.Tensor.mean, "max": torch.Tensor.amax, "min": torch.Tensor.amin}
    return {
        f"{method}:layer={layer},heads={heads}": (layer, fuse) for layer in (-1, 0) for heads, fuse in fusions.items()
    }


@pytest.mark.parametrize("name", MODELS)
def test_explainers_equal_their_replicas(name: str) -> None:
    engine, images, prefix, row, matrices, gradients = in_double(name)
    methods = ["gradient-rollout", "generic-attention", "gradient-rollout:discard_ratio=0.6"]
    maps = engine.explain(images, methods, target=1)
    layers = weighted_replica(matrices, gradients)
    assert_is(maps[methods[0]], rollout_replica(layers, prefix, row, lambda heads: heads[0]))
    assert_is(maps[methods[1]], generic_replica(matrices, gradients, prefix, row))
    assert_is(maps[methods[2]], rollout_replica(layers, prefix, row, lambda heads: heads[0].clone(), 0.6))


@pytest.mark.parametrize("name", MODELS)
def test_raw_attention_equals_its_replica(name: str) -> None:
    engine, images, prefix, row, matrices, _ = in_double(name)
    options = with_options("raw-attention")
    ours = engine.explain(images, [*options])
    for spec, (layer, fuse) in options.items():
        assert_equals(ours[spec], (row @ fuse(matrices[layer], 1))[:, prefix:].unflatten(1, (4, 4)))
        assert ours[spec].parts is not None
        heads = (row @ matrices[layer])[..., prefix:].unflatten(-1, (4, 4))
        torch.testing.assert_close(ours[spec].parts.double(), heads, atol=1e-6, rtol=1e-5)


def test_layers_paired_with_gradients_in_reverse_give_another_map() -> None:
    """The slip of vit-explain's gradient rollout, whose gradients arrive from the last layer to the first."""
    model, images, prefix, row = case("timm")
    matrices, (gradients,) = plain(model, images, [1])
    ours = xai.Engine(model).explain(images, "gradient-rollout", target=1)["gradient-rollout"].raw.double()
    each, reverse = (
        rollout_replica(weighted_replica(matrices, paired), prefix, row, lambda heads: heads[0])
        for paired in (gradients, gradients[::-1])
    )
    for right, wrong, given in zip(each.flatten(1), reverse.flatten(1), ours.flatten(1), strict=True):
        assert torch.stack([given, right]).corrcoef()[0, 1] > 0.9999
        assert torch.stack([given, wrong]).corrcoef()[0, 1] < 0.99


METHODS = ["gradient-rollout", "generic-attention", "raw-attention"]


def test_fused_and_written_out_attention_give_the_same_map() -> None:
    model, images, _, _ = case("timm")
    written_out = copy.deepcopy(model)
    for block in written_out.blocks:
        block.attn.fused_attn = False
    fused, other = (xai.Engine(one).explain(images, METHODS, target=1) for one in (model, written_out))
    for name in METHODS:
        torch.testing.assert_close(fused[name].values, other[name].values, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [1, 5, 17])
def test_the_size_of_blocks_does_not_matter(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    model, images, _, _ = case("timm mean over patches")
    whole = xai.Engine(model).explain(images, METHODS, target=1)
    blocks = AttentionLayer.blocks
    sizes: list[int] = []

    def smaller(layer: AttentionLayer, tokens: slice) -> Any:
        for part, rows in blocks(layer, tokens, size):
            sizes.append(rows.shape[2])
            yield part, rows

    monkeypatch.setattr(AttentionLayer, "blocks", smaller)
    parts = xai.Engine(model).explain(images, METHODS, target=1)
    assert max(sizes) <= size
    for name in METHODS:
        torch.testing.assert_close(parts[name].raw, whole[name].raw, atol=1e-7, rtol=1e-5)


@pytest.mark.filterwarnings("ignore::xai_core.errors.ConstantMapWarning")
@pytest.mark.parametrize("make", [fused_vit, torchvision_vit])
def test_one_forward_and_one_backward_for_all(make: Callable[[], nn.Module]) -> None:
    engine = xai.Engine(model := settled(make()))
    images = torch.randn(2, 3, 32, 32)
    engine.adapter(images)
    methods = [*METHODS, "rollout", "head-attention", "hires-cam"]
    for target in (3, [[0, 1, 2], [2, 3, 4]]):
        with counted(model) as counts:
            engine.explain(images, methods, target=target)
        assert counts == {"forward": 1, "backward": 1}


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_blocks_under_no_grad(cut: int) -> None:
    """The gradient reaches them all the same, since the pass keeps a graph from its first attention on."""
    model, images = Cut(cut), torch.randn(2, 3, 32, 32)
    expected = xai.Engine(model.vit).explain(images, METHODS, target=1)
    for name, saliency in xai.Engine(model).explain(images, METHODS, target=1).items():
        torch.testing.assert_close(saliency.values, expected[name].values, atol=1e-5, rtol=0)


@pytest.mark.parametrize("fused", [True, False])
def test_class_attention_equals_its_replica(fused: bool) -> None:
    model: Any = timm.create_model("cait_xxs24_224", img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=4)
    model, images = settled(model), torch.randn(2, 3, 32, 32)
    matrices, _ = plain(model, images, [1])
    for block in model.blocks_token_only:
        block.attn.fused_attn = fused
    alone = [matrix for matrix in matrices if matrix.shape[2] == 1]
    assert [matrix.shape[-1] for matrix in alone] == [17, 17]
    options = with_options("class-attention")
    ours = xai.Engine(model).explain(images, [*options])
    for spec, (layer, fuse) in options.items():
        assert_is(ours[spec], fuse(alone[layer], 1)[:, 0, 1:].unflatten(1, (4, 4)))
        assert ours[spec].parts is not None
        heads = alone[layer][:, :, 0, 1:].unflatten(-1, (4, 4))
        torch.testing.assert_close(ours[spec].parts.double(), heads, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_class_attention_of_attention_pooling(implementation: str) -> None:
    model, images = settled(with_attention(attention_pooling, implementation)()), torch.randn(2, 3, 32, 32)
    matrices, _ = plain(model, images, [1])
    assert [matrix.shape[2:] for matrix in matrices] == [(16, 16)] * 3 + [(1, 16)]
    ours = xai.Engine(model).explain(images, "class-attention")["class-attention"]
    assert_is(ours, matrices[-1].mean(1)[:, 0].unflatten(1, (4, 4)))


class Average(nn.Module):
    """The mean of the scores of two models."""

    def __init__(self) -> None:
        super().__init__()
        options = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 4, "num_classes": 5}
        self.models = nn.ModuleList(timm.create_model("cait_xxs24_224", **options) for _ in range(2))

    def forward(self, images: Tensor) -> Tensor:
        return (self.models[0](images) + self.models[1](images)) / 2


@pytest.mark.parametrize("number", [0, 1])
def test_class_attention_of_one_model_of_an_ensemble(number: int) -> None:
    ensemble: Any = settled(Average())
    images, spec = torch.randn(2, 3, 32, 32), f"class-attention:layer=0,module=models.{number}"
    ours = xai.Engine(ensemble).explain(images, spec)[spec].raw
    alone = xai.Engine(ensemble.models[number]).explain(images, "class-attention:layer=0")
    torch.testing.assert_close(ours, alone["class-attention:layer=0"].raw)
    with pytest.raises(LayerError, match=r"'models\.1' has 2 such layers"):
        xai.Engine(ensemble).explain(images, "class-attention:layer=2,module=models.1")


def test_class_attention_is_of_layers_with_one_query() -> None:
    with pytest.raises(UnsuitableError, match="use raw-attention"):
        xai.Engine(fused_vit().eval()).explain(torch.randn(1, 3, 32, 32), "class-attention")


def test_options_that_make_no_sense() -> None:
    with pytest.raises(OptionError, match="one of mean, max, min"):
        xai.create_explainer("raw-attention", heads="all")
    with pytest.raises(OptionError, match="discard_ratio"):
        xai.create_explainer("gradient-rollout", discard_ratio=1.0)
    with pytest.raises(LayerError, match="the model has 3"):
        xai.Engine(fused_vit().eval()).explain(torch.randn(1, 3, 32, 32), "raw-attention:layer=3")
