"""TIS against a replica in float64, which drops tokens by hand, and its k-means against SciPy."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor, nn

import xai_core as xai
from support.attention_models import Encoder, attention_pooling
from support.models import SmallCNN, fused_vit, settled
from xai_core.errors import UnsuitableError
from xai_perturbation.tis import TIS

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)).double()
TARGETS = [3, 1]
Run = Callable[[Tensor | None], tuple[Tensor, list[Tensor]]]
"""Runs the blocks on some patch tokens [k] of one image, or on all: scores [K], and the tokens [N,C] of each block."""


def of_timm(model: Any, image: Tensor) -> Run:
    def run(kept: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        tokens, outputs = model._pos_embed(model.patch_embed(image[None])), []
        if kept is not None:
            tokens = torch.cat([tokens[:, :1], tokens[:, 1:][:, kept]], 1)
        for block in model.blocks:
            tokens = block(tokens)
            outputs.append(tokens[0])
        return model.forward_head(model.norm(tokens))[0], outputs

    return run


def of_encoder(model: Any, image: Tensor) -> Run:
    """The tokens are the first dimension."""

    def run(kept: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        tokens, outputs = model.patches(image[None]).flatten(2).permute(2, 0, 1), []
        tokens = torch.cat([model.token, tokens if kept is None else tokens[kept]])
        for layer in model.encoder.layers:
            tokens = layer(tokens)
            outputs.append(tokens[:, 0])
        return model.head(tokens[0])[0], outputs

    return run


def of_pooling(model: Any, image: Tensor) -> Run:
    """One query pools the tokens by attention. There is no class token."""

    def run(kept: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        tokens, outputs = model.vision.embeddings(image[None]), []
        tokens = tokens if kept is None else tokens[:, kept]
        for layer in model.vision.encoder.layers:
            tokens = layer(tokens, attention_mask=None)
            outputs.append(tokens[0])
        return model.head(model.vision.head(model.vision.post_layernorm(tokens)))[0], outputs

    return run


@torch.no_grad()
def replica(run: Run) -> Tensor:
    """Sum of the probabilities of the half of the tokens with the highest values of each channel, by coverage."""
    _, outputs = run(None)
    sums, coverage = torch.zeros(len(TARGETS), 16).double(), torch.zeros(16)
    for channel in torch.cat([tokens[-16:] for tokens in outputs], 1).T:
        kept = channel.argsort(descending=True)[:8]
        sums[:, kept] += run(kept)[0].softmax(0)[TARGETS][:, None]
        coverage[kept] += 1
    return (sums / coverage).unflatten(1, (4, 4))


@pytest.mark.parametrize(
    ("make", "read"),
    [(fused_vit, of_timm), (lambda: Encoder(False, False), of_encoder), (attention_pooling, of_pooling)],
    ids=["timm", "tokens first", "attention pooling"],
)
def test_maps_are_those_of_the_paper(make: Callable[[], nn.Module], read: Callable[[Any, Tensor], Run]) -> None:
    model = settled(make()).double()
    ours = xai.Engine(model, block=50).explain(IMAGES, "tis", [TARGETS, TARGETS])["tis"]
    for image, maps in zip(IMAGES, ours.raw, strict=True):
        expected = replica(read(copy.deepcopy(model), image))
        torch.testing.assert_close(maps.double(), expected, rtol=1e-6, atol=0)


def test_centroids_are_those_of_scipy() -> None:
    channels = torch.randn(60, 9, generator=torch.Generator().manual_seed(2)).double()
    tis = TIS(masks=7, iterations=50, seed=4)
    start = channels[torch.randperm(60, generator=torch.Generator().manual_seed(4))[:7]]
    expected, _ = kmeans2(channels.numpy(), start.numpy(), iter=50, minit="matrix")
    torch.testing.assert_close(tis._centroids(channels), torch.from_numpy(expected))


def test_a_tail_that_cannot_run_alone() -> None:
    """The whole model runs for each subset."""

    class Checking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vit = settled(fused_vit()).double()

        def forward(self, images: Tensor) -> Tensor:
            assert images.isfinite().all()
            return self.vit(images)

    spec = "tis:masks=8,iterations=2"
    model = Checking()
    one, other = (xai.Engine(each).explain(IMAGES, spec, 1)[spec].raw for each in (model, model.vit))
    torch.testing.assert_close(one, other)


class Ordered(nn.Module):
    """A ViT that adds positions between its blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.vit = settled(fused_vit())

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.vit._pos_embed(self.vit.patch_embed(images))
        for block in self.vit.blocks:
            tokens = block(tokens)
            tokens = tokens + torch.arange(tokens[0].numel()).view(tokens.shape[1:]).sin()
        return self.vit.forward_head(self.vit.norm(tokens))


class Fixed(Ordered):
    """A ViT that requires all tokens."""

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.vit._pos_embed(self.vit.patch_embed(images))
        for block in self.vit.blocks:
            tokens = block(tokens.view(len(tokens), 17, -1))
        return self.vit.forward_head(self.vit.norm(tokens))


@pytest.mark.parametrize(
    ("make", "message"),
    [(Ordered, "do not depend on the order"), (Fixed, "accept any number of tokens"), (SmallCNN, "return all tokens")],
)
def test_models_that_need_all_tokens(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(UnsuitableError, match=f"tis requires .*{message}.*Use rise"):
        xai.Engine(settled(make())).explain(IMAGES.float(), "tis")
