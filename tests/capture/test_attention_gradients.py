"""The gradients of attention against autograd through plain attention in float64."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import xai_core as xai
from support.explaining import captured_by
from support.explicit_attention import MODELS, case, plain
from support.models import fused_vit, settled, torchvision_vit
from xai_core.errors import NoAttentionError, NotCapturedError
from xai_core.model.attention_reader import AttentionReader
from xai_core.plugin import AttentionLayer

BOTH = xai.Needs(attention=True, attention_gradients=True)


@pytest.mark.parametrize("name", MODELS)
def test_gradients_equal_those_of_plain_attention(name: str) -> None:
    model, images, _, _ = case(name)
    matrices, gradients = plain(model, images, [1])
    captured = captured_by(model.double(), images.double(), BOTH, target=1)
    assert len(captured.attention) == len(matrices) == 3
    for layer, matrix, gradient in zip(captured.attention, matrices, gradients[0], strict=True):
        assert gradient.abs().max() > 0
        torch.testing.assert_close(layer.rows().double(), matrix, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(layer.gradient_rows().double(), gradient, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(layer.gradient_rows(2, 5), layer.gradient_rows()[:, :, 2:5])


@pytest.mark.parametrize("make", [fused_vit, torchvision_vit])
def test_gradients_of_several_targets_and_rivals(make: Callable[[], nn.Module]) -> None:
    model, images = settled(make()).double(), torch.randn(2, 3, 32, 32).double()
    seen: dict[int, list[Tensor]] = {}

    class Look(xai.Explainer):
        name = "look"

        def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
            return xai.Needs(attention_gradients=True, rivals=(4,))

        def explain(self, captured: xai.Captured) -> Tensor:
            for i, view in enumerate((captured, *captured.rivals)):
                seen[4 if i else int(captured.target.ids[0])] = [layer.gradient_rows() for layer in view.attention]
            return captured.images[:, 0]

    xai.Engine(model).explain(images, Look(), target=[[0, 2], [0, 2]])
    targets = [0, 2, 4]
    _, gradients = plain(model, images, targets)
    for target, expected in zip(targets, gradients, strict=True):
        for ours, theirs in zip(seen[target], expected, strict=True):
            torch.testing.assert_close(ours, theirs)


def test_grouped_heads_masks_and_three_dimensions() -> None:
    """The gradient of the weights themselves, for what the kernel takes beside q, k and v."""
    q, k, v = torch.randn(2, 4, 6, 8), torch.randn(2, 2, 6, 8), torch.randn(2, 2, 6, 5)
    grouped = {"enable_gqa": True, "attn_mask": torch.randn(2, 1, 6, 6)}
    for tensors, options in (((q, k, v), grouped), ((q, k, v), {"enable_gqa": True, "is_causal": True}),
                             ((q[0], q[0], q[0]), {"scale": 0.3})):  # fmt: skip
        found: list[AttentionLayer] = []
        with AttentionReader(len(tensors[0]), found.append, lambda given: given):
            output = F.scaled_dot_product_attention(*tensors, **options)
        gradient = torch.randn_like(output)
        layer = found[0].with_gradient(gradient)
        values = tensors[2].repeat_interleave(2, 1) if options.get("enable_gqa") else tensors[2]
        torch.testing.assert_close(layer.gradient_rows().view(*gradient.shape[:-1], 6), gradient @ values.mT)
        assert layer.gradient_rows(1, 3).shape == (layer.batch, layer.heads, 2, 6)


def test_separate_projections_of_multi_head_attention() -> None:
    attention = nn.MultiheadAttention(16, 4, kdim=12, vdim=10, batch_first=True).double()
    query, key, value = (torch.randn(2, 5, size).double() for size in (16, 12, 10))
    found: list[AttentionLayer] = []
    with AttentionReader(2, found.append):
        output, _ = attention(query, key, value)
    gradient = torch.randn_like(output)
    weights = found[0].rows().requires_grad_()
    values = F.linear(value, attention.v_proj_weight, attention.in_proj_bias.chunk(3)[2]).unflatten(-1, (4, -1))
    again = attention.out_proj((weights @ values.transpose(1, 2)).transpose(1, 2).flatten(2))
    torch.testing.assert_close(again, output)
    (expected,) = torch.autograd.grad(again, weights, gradient)
    torch.testing.assert_close(found[0].with_gradient(gradient.transpose(0, 1)).gradient_rows(), expected)


def test_gradients_are_shown_only_where_they_were_declared() -> None:
    model, images, _, _ = case("timm")
    captured = captured_by(model, images, xai.Needs(attention=True))
    with pytest.raises(NotCapturedError, match="attention_gradients=True"):
        captured.attention[0].gradient_rows()


class Aside(nn.Module):
    """Attention that the scores do not depend on, beside some that they do, or alone."""

    def __init__(self, alone: bool) -> None:
        super().__init__()
        self.vit, self.alone = settled(fused_vit()), alone

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.vit._pos_embed(self.vit.patch_embed(images))
        self.vit.blocks[0].attn(tokens)
        return self.vit.head(tokens[:, 1]) if self.alone else self.vit(images)


def test_attention_that_the_score_does_not_depend_on() -> None:
    images = torch.randn(2, 3, 32, 32)
    layers = captured_by(Aside(alone=False).eval(), images, BOTH, target=1).attention
    assert [bool(layer.gradient_rows().any()) for layer in layers] == [True, True, True]
    with pytest.raises(NoAttentionError, match="on the path from the images to the scores"):
        _ = captured_by(Aside(alone=True).eval(), images, BOTH, target=1).attention
