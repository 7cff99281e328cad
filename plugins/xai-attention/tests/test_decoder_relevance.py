"""Generic attention in encoder-decoders, against float64 replicas with whole matrices."""

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.attention_references import assert_equals
from support.captioners import PROMPT, blip, caption
from support.decoders import Attention, Decoding
from support.detector_families import SIZE, family
from support.models import settled
from support.references import relative
from support.seeding import seed
from xai_core.errors import UnsuitableError


def normalized(relevance: Tensor) -> Tensor:
    """Return R with rows of R - I that sum to one, or to zero."""
    identity = torch.eye(len(relevance)).to(relevance)
    sums = (relevance - identity).sum(1, keepdim=True)
    return (relevance - identity) / sums.where(sums > 0, 1) + identity


def relevance_of_queries(score: Tensor, encoder: Sequence[Tensor], decoder: Sequence[Tensor]) -> Tensor:
    """Return R_qi [Q,N] of one image, for attention weights [1,heads,n,m] in order of execution.

    The weights of the decoder are [1,heads,Q,Q] or [1,heads,Q,N].
    """
    every = [*encoder, *decoder]
    gradients = torch.autograd.grad(score, every, retain_graph=True)
    means = [(one * gradient).relu().mean(1)[0].detach() for one, gradient in zip(every, gradients, strict=True)]
    of_tokens = torch.eye(encoder[0].shape[-1]).to(score)
    of_queries = torch.eye(decoder[0].shape[-2]).to(score)
    across = torch.zeros(len(of_queries), len(of_tokens)).to(score)
    for mean in means[: len(encoder)]:
        of_tokens = of_tokens + mean @ of_tokens
    for mean in means[len(encoder) :]:
        if mean.shape == of_queries.shape:
            across, of_queries = across + mean @ across, of_queries + mean @ of_queries
        else:
            across = across + normalized(of_queries).T @ mean @ normalized(of_tokens)
    return across


def explicit(model: nn.Module) -> nn.Module:
    """Return a copy of a small decoder that keeps its attention weights."""
    plain = copy.deepcopy(model).requires_grad_()
    for module in plain.modules():
        if isinstance(module, Attention):
            module.explicit = True
    return plain


def replica(model: nn.Module, image: Tensor, query: int, label: int) -> Tensor:
    """Return the map of a small decoder for one image [1,C,H,W]."""
    plain = explicit(model)
    layers = [module for module in plain.modules() if isinstance(module, Attention)]
    score = plain(image)["logits"][0, query, label]
    ordered = [layers[0]]
    for layer in plain.layers:
        ordered += [layer.across, layer.among] if plain.how == "cross-attention first" else [layer.among, layer.across]
    weights = [layer.weights for layer in ordered]
    return relevance_of_queries(score, weights[:1], weights[1:])[query].view(4, 4)


def explained(model: nn.Module, images: Tensor, target: Any, **options: Any) -> xai.Saliency:
    [saliency] = xai.Engine(model, **options).explain(images, "generic-attention", target).values()
    return saliency


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("how", ["", "cross-attention first"])
def test_the_map_is_the_row_of_the_query(how: str, frozen: bool) -> None:
    seed()
    model, images = settled(Decoding(how)).double().requires_grad_(not frozen), torch.randn(2, 3, 32, 32).double()
    ours = explained(model, images, lambda output: output["logits"][:, 3, 1])
    for i, image in enumerate(images):
        assert relative(ours.raw[i], replica(model, image[None], 3, 1)) < 1e-6


def test_several_targets_and_boxes() -> None:
    seed()
    model, images = settled(Decoding()).double(), torch.randn(1, 3, 32, 32).double()
    labels = [0, 2]
    for label in labels:
        ours = explained(model, images, xai.Box(label=label, overlap=0))
        query = int(ours.target.measure.best)
        assert relative(ours.raw[0], replica(model, images, query, label)) < 1e-6


def test_a_function_of_several_queries_is_rejected() -> None:
    seed()
    model, images = settled(Decoding()), torch.randn(1, 3, 32, 32)
    with pytest.raises(UnsuitableError, match="5 queries and 16 keys"):
        explained(model, images, lambda output: output["logits"][:, :, 2].sum(1))


def test_fused_attention_of_all_kinds_is_read() -> None:
    seed()
    model, images = settled(Decoding()).double(), torch.randn(2, 3, 32, 32).double()
    maps = []
    for change in ("", "explicit", "fused"):
        changed = copy.deepcopy(model)
        for module in changed.modules():
            if isinstance(module, Attention) and change:
                setattr(module, change, True)
        maps.append(explained(changed, images, lambda output: output["logits"][:, 3, 1]).raw)
    assert relative(maps[1], maps[0]) < 1e-6
    assert relative(maps[2], maps[0]) < 1e-6


def test_queries_that_all_images_share() -> None:
    seed()
    model, images = settled(Decoding("queries without images")).double(), torch.randn(2, 3, 32, 32).double()
    with pytest.raises(UnsuitableError, match="one image at a time"):
        explained(model, images, lambda output: output["logits"][:, 3, 1])
    ours = explained(model, images[:1], lambda output: output["logits"][:, 3, 1])
    assert relative(ours.raw[0], replica(model, images[:1], 3, 1)) < 1e-6


def test_detr() -> None:
    model = family("detr").double()
    images = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)).double()
    ours = explained(model, images, xai.Box(overlap=0))
    measure = ours.target.measure
    model.set_attn_implementation("eager")
    expected = []
    for image, query, label in zip(images, measure.best.tolist(), measure.labels.tolist(), strict=True):
        output = model(image[None], output_attentions=True)
        decoder = [
            each for pair in zip(output.decoder_attentions, output.cross_attentions, strict=True) for each in pair
        ]
        row = relevance_of_queries(output.logits[0, query, label], output.encoder_attentions, decoder)[query]
        expected.append(row.view(4, 4))
    assert_equals(ours, torch.stack(expected))


def test_blip() -> None:
    """The decoder of a captioner, whose encoder has a class token."""
    model, images = blip().double(), torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)).double()
    ours = explained(model, images, xai.Token(), forward=caption)
    plain = copy.deepcopy(model)
    plain.set_attn_implementation("eager")
    expected = []
    for image in images:
        vision = plain.vision_model(image[None], output_attentions=True)
        text = plain.text_decoder(
            PROMPT, encoder_hidden_states=vision.last_hidden_state, output_attentions=True, return_dict=True
        )
        decoder = [each for pair in zip(text.attentions, text.cross_attentions, strict=True) for each in pair]
        rows = relevance_of_queries(text.logits[0, -1].amax(), vision.attentions, decoder)
        expected.append(rows[-1, 1:].view(4, 4))
    assert_equals(ours, torch.stack(expected))


def test_images_are_explained_independently() -> None:
    seed()
    model, images = settled(Decoding()).double(), torch.randn(3, 3, 32, 32).double()
    target = xai.Box(overlap=0)
    together = explained(model, images, target).raw
    alone = torch.cat([explained(model, image[None], target).raw for image in images])
    assert relative(together, alone) < 1e-6
