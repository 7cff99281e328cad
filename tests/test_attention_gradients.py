"""The gradients of attention against autograd through plain attention in float64."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import xai_core as xai
from conftest import captured_by, fused_vit, settled, torchvision_vit
from test_attention import CASES, Encoder
from xai_core.errors import NotCapturedError, NotConnectedError
from xai_core.model.attention import AttentionReader
from xai_core.plugin import AttentionLayer

BOTH = xai.Needs(attention=True, attention_gradients=True)
MODELS: dict[str, tuple[Callable[[], nn.Module], int, str]] = {
    # model, prefix tokens, what the head reads
    "timm": (fused_vit, 1, "class"),
    "timm mean over patches": (lambda: fused_vit(global_pool="avg"), 1, "patches"),
    "torchvision": (torchvision_vit, 1, "class"),
    "nn.TransformerEncoder, tokens first": (lambda: Encoder(False, False), 1, "class"),
    "nn.TransformerEncoder, mean": (lambda: Encoder(True, False, mean=True), 1, "all"),
    **{
        name: (CASES[name][0], *CASES[name][3:])
        for name in CASES
        if name.startswith(("hugging face", "vit-pytorch", "simple vit", "cifar-vit"))
    },
}


class Plain:
    """Attention as it is written in books, with whole matrices that keep their gradients."""

    def __init__(self) -> None:
        self.matrices: list[Tensor] = []

    def keep(self, matrix: Tensor) -> Tensor:
        matrix.retain_grad()
        self.matrices.append(matrix)
        return matrix

    def scaled_dot_product(self, q: Tensor, k: Tensor, v: Tensor, *_: Any, scale: Any = None, **__: Any) -> Tensor:
        scale = q.shape[-1] ** -0.5 if scale is None else scale
        return self.keep((scale * q @ k.mT).softmax(-1)) @ v

    def multi_head(
        self, q: Tensor, k: Tensor, v: Tensor, size: int, heads: int, weight: Tensor, bias: Tensor, *rest: Any, **_: Any
    ) -> tuple[Tensor, None]:
        out_weight, out_bias = rest[4:6]
        q, k, v = (
            F.linear(tokens, w, b).unflatten(-1, (heads, -1)).permute(1, 2, 0, 3)
            for tokens, w, b in zip((q, k, v), weight.chunk(3), bias.chunk(3), strict=True)
        )
        mixed = self.keep((q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)) @ v
        return F.linear(mixed.permute(2, 0, 1, 3).flatten(2), out_weight, out_bias), None


def eager(
    model: nn.Module, images: Tensor, watched: Sequence[str] = (), residual: bool = False
) -> tuple[Any, Any, list[Tensor], list[Tensor]]:
    """A copy of the model in float64 and with plain attention: it, its output, its matrices, outputs of layers.

    With `residual`, what the model adds to these outputs by itself is added, the layers' input.
    """
    model = copy.deepcopy(model).double()
    if hasattr(model, "set_attn_implementation"):
        model.set_attn_implementation("eager")
    for layer in model.modules():
        if isinstance(layer, nn.TransformerEncoderLayer | nn.MultiheadAttention):
            layer.train()  # off its fast path; dropout is zero in these models
    book = Plain()
    softmax = F.softmax
    seen: list[Tensor] = []

    def see(_: nn.Module, given: Any, output: Any) -> Any:
        seen.append(output + given[0] if residual else output)
        return output.clone()  # the rest may write to it

    for name in watched:
        model.get_submodule(name).register_forward_hook(see)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "scaled_dot_product_attention", book.scaled_dot_product)
        patch.setattr(F, "multi_head_attention_forward", book.multi_head)
        patch.setattr(F, "softmax", lambda scores, dim, **_: book.keep(softmax(scores, dim)))
        output = model(images.double())
    return model, output, book.matrices, seen


def plain(model: nn.Module, images: Tensor, targets: Sequence[int]) -> tuple[list[Tensor], list[list[Tensor]]]:
    """Each layer's matrix [B,heads,N,N], and its gradient for each target, in float64 and from autograd."""
    _, output, matrices, _ = eager(model, images)
    scores = getattr(output, "logits", output)
    gradients = [list(torch.autograd.grad(scores[:, target].sum(), matrices, retain_graph=True)) for target in targets]
    return [matrix.detach() for matrix in matrices], gradients


def case(name: str) -> tuple[nn.Module, Tensor, int, slice]:
    make, prefix, reads = MODELS[name]
    rows = {"class": slice(0, 1), "patches": slice(prefix, None), "all": slice(0, None)}[reads]
    return settled(make()), torch.randn(2, 3, 32, 32), prefix, rows


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
    assert [bool(layer.gradient_rows().any()) for layer in layers] == [False, True, True, True]
    with pytest.raises(NotConnectedError, match="attention 0"):
        captured_by(Aside(alone=True).eval(), images, BOTH, target=1)
