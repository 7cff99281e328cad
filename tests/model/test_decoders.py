"""Decoders of queries are read from models that have one, and from no other model."""

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.decoders import OTHERS, TOKENS, Decoding
from support.detector_families import SIZE, family
from support.models import fused_vit, settled
from support.seeding import seed
from xai_core.errors import UnsuitableError
from xai_core.plugin import Decoder

LAYERS = (1, 2, 3, 4)


def decoder_of(model: nn.Module, side: int = 32) -> Decoder | None:
    return xai.Engine(settled(model)).adapter(torch.randn(1, 3, side, side)).decoder


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("queries", [2, 5, TOKENS])
def test_a_decoder_is_read(queries: int, frozen: bool) -> None:
    """Also if the numbers of queries and of tokens are equal."""
    seed()
    decoder = decoder_of(Decoding(queries=queries).requires_grad_(not frozen))
    assert decoder == Decoder(((0,),), LAYERS, frozenset({2, 4}), queries)


def test_cross_attention_may_be_first() -> None:
    seed()
    assert decoder_of(Decoding("cross-attention first")) == Decoder(((0,),), LAYERS, frozenset({1, 3}), 5)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("how", OTHERS)
def test_models_that_mix_otherwise_have_no_decoder(how: str, frozen: bool) -> None:
    seed()
    assert decoder_of(Decoding(how).requires_grad_(not frozen)) is None


@pytest.mark.parametrize("name", ["deformable-detr", "rt-detr", "yolos"])
def test_detectors_without_such_a_decoder_are_rejected(name: str) -> None:
    model = family(name)
    assert decoder_of(model, SIZE) is None
    with pytest.raises(UnsuitableError, match="grad-cam"):
        xai.Engine(model).explain(torch.randn(1, 3, SIZE, SIZE), "generic-attention")


@pytest.mark.parametrize("method", ["rollout", "gradient-rollout", "raw-attention"])
def test_other_methods_reject_decoders(method: str) -> None:
    seed()
    engine = xai.Engine(settled(Decoding()))
    with pytest.raises(UnsuitableError, match="5 queries and 16 keys"):
        engine.explain(torch.randn(1, 3, 32, 32), method, xai.Box(overlap=0))


def test_a_transformer_with_a_class_token_has_no_decoder(images: Tensor) -> None:
    assert xai.Engine(settled(fused_vit())).adapter(images).decoder is None
