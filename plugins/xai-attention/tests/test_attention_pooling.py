"""Methods that start at the attention with which one query pools the tokens, against float64 replicas."""

import copy

import pytest
import timm
import torch
from torch import Tensor, nn

import xai_core as xai
from support.attention_models import TINY, attention_pooling, with_attention
from support.attention_references import assert_equals, assert_is, rollout_replica, slow_pooling
from support.models import settled
from xai_core.errors import UnsuitableError


def replicas(model: nn.Module, images: Tensor, target: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the maps of rollout, gradient rollout and generic attention, with whole matrices."""
    plain = copy.deepcopy(model).double()
    plain.set_attn_implementation("eager")
    encoded = plain.vision(images.double(), output_attentions=True)
    pooled, last = slow_pooling(plain.vision.head, encoded.last_hidden_state)
    logits = plain.head(pooled)
    torch.testing.assert_close(logits, plain(images.double()).logits)
    matrices = [*encoded.attentions, last]
    gradients = torch.autograd.grad(logits[:, target].sum(), matrices)
    weighted = [(one * gradient).detach() for one, gradient in zip(matrices, gradients, strict=True)]
    layers = [matrix.detach() for matrix in matrices[:-1]]
    means = [each.mean(1, keepdim=True).relu() for each in weighted]
    relevance = torch.eye(last.shape[-1], dtype=torch.float64).expand(len(images), -1, -1)
    for each in weighted[:-1]:
        relevance = relevance + each.relu().mean(1) @ relevance
    others = relevance - torch.eye(last.shape[-1], dtype=torch.float64)
    normalized = others / others.sum(-1, keepdim=True) + torch.eye(last.shape[-1], dtype=torch.float64)
    generic = (weighted[-1].relu().mean(1) @ normalized)[:, 0]
    return (
        rolled(layers, last.detach().mean(1)[:, 0]),
        rolled(means[:-1], means[-1][:, 0, 0]),
        generic.unflatten(1, (4, 4)),
    )


def rolled(layers: list[Tensor], rows: Tensor) -> Tensor:
    """Return rollout from one row per image."""
    return torch.cat(
        [
            rollout_replica([layer[index : index + 1] for layer in layers], 0, row, lambda heads: heads.mean(0))
            for index, row in enumerate(rows)
        ]
    )


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_maps_equal_their_replicas(implementation: str) -> None:
    torch.manual_seed(0)
    model, images = settled(with_attention(attention_pooling, implementation)()), torch.randn(2, 3, 32, 32)
    methods = ["rollout", "gradient-rollout", "generic-attention"]
    target = int(model(images).logits.sum(0).argmax())
    maps = xai.Engine(copy.deepcopy(model).double()).explain(images.double(), methods, target)
    rollout, gradient_rollout, generic = replicas(model, images, target)
    assert float(gradient_rollout.amax()) > 0
    assert_equals(maps["rollout"], rollout)
    assert_is(maps["gradient-rollout"], gradient_rollout)
    assert_is(maps["generic-attention"], generic)


def test_the_pooling_of_timm_is_read() -> None:
    model = timm.create_model(
        "vit_base_patch16_siglip_224", img_size=32, patch_size=8, embed_dim=48, depth=2, num_heads=3, num_classes=5
    )
    adapter = xai.Engine(settled(model)).adapter(torch.randn(1, 3, 32, 32))
    path = adapter.attention_path()
    assert path.pooling == 2
    assert path.chain("rollout", pooled=True) == ((0,), (1,))
    with pytest.raises(UnsuitableError, match="attention-flow requires attention over all tokens"):
        path.chain("attention-flow")


class Bypassed(nn.Module):
    """Scores from tokens that are pooled by attention, or from their first token beside it, or in another order."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.vision, self.how = attention_pooling().vision, how
        self.head = nn.Linear(TINY["hidden_size"], 5)

    def forward(self, images: Tensor) -> Tensor:
        encoded = self.vision(images)
        tokens = encoded.last_hidden_state
        if self.how == "read beside the pooling":
            return self.head(encoded.pooler_output + tokens[:, 0])
        kept = tokens[:, 1:] if self.how == "without a token" else tokens.flip(1)
        return self.head(self.vision.head(kept))


@pytest.mark.parametrize("how", ["read beside the pooling", "without a token", "in another order"])
def test_another_pooling_is_rejected(how: str) -> None:
    engine = xai.Engine(settled(Bypassed(how)))
    with pytest.raises(UnsuitableError, match="rollout requires"):
        engine.explain(torch.randn(1, 3, 32, 32), "rollout")
