"""AG-CAM against a replica of its equations in float64, with logits and gradients of whole matrices from autograd."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import xai_core as xai
from support.attention_references import assert_is
from support.explicit_attention import case
from support.models import fused_vit, settled
from xai_core.errors import UnsuitableError


def replica(model: nn.Module, images: Tensor, prefix: int, row: Tensor) -> Tensor:
    """Leem and Seo, equations 2 and 7, of each layer, for class 1 [B,L,h,w]."""
    layers: list[tuple[Tensor, Tensor]] = []

    def attend(q: Tensor, k: Tensor, v: Tensor, *_: Any, scale: float | None = None, **__: Any) -> Tensor:
        logits = q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
        layers.append((logits, logits.softmax(-1)))
        return layers[-1][1] @ v

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "scaled_dot_product_attention", attend)
        output = copy.deepcopy(model).double().train()(images.double())  # off its fast path; dropout is zero
    score = getattr(output, "logits", output)[:, 1].sum()
    gradients = torch.autograd.grad(score, [matrix for _, matrix in layers])
    maps = [(g.clamp(min=0) * s.detach().sigmoid()).sum(1) for (s, _), g in zip(layers, gradients, strict=True)]
    return torch.stack([(row @ rows)[:, prefix:] for rows in maps], 1).unflatten(2, (4, 4))


@pytest.mark.parametrize(
    "name", ["timm", "timm mean over patches", "hugging face DeiT, sdpa", "nn.TransformerEncoder, tokens first"]
)
def test_maps_are_those_of_the_paper(name: str) -> None:
    model, images, prefix, row = case(name)
    expected = replica(model, images, prefix, row)
    ours = xai.Engine(model.double()).explain(images.double(), "ag-cam", target=1)["ag-cam"]
    assert ours.parts is not None
    torch.testing.assert_close(ours.parts.double(), expected, atol=1e-7, rtol=1e-5)
    assert_is(ours, expected.sum(1))


def test_excluded_keys_have_no_relevance() -> None:
    """The sigmoid of the logit -inf is zero."""

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vit = settled(fused_vit())

        def forward(self, images: Tensor) -> Tensor:
            tokens = self.vit._pos_embed(self.vit.patch_embed(images))
            mask = torch.ones(17, 17, dtype=torch.bool)
            mask[:, 1:9] = False
            for block in self.vit.blocks:
                tokens = block(tokens, attn_mask=mask)
            return self.vit.forward_head(self.vit.norm(tokens))

    [saliency] = xai.Engine(Masked()).explain(torch.randn(1, 3, 32, 32), "ag-cam").values()
    assert (saliency.raw[0, :2] == 0).all()
    assert (saliency.raw[0, 2:] > 0).all()


def test_explicit_attention_has_no_logits() -> None:
    model, images, _, _ = case("vit-pytorch")
    with pytest.raises(UnsuitableError, match="computes its attention weights explicitly"):
        xai.Engine(model).explain(images, "ag-cam")
