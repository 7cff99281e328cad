"""A small model that compares images with texts, as CLIP does."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from xai_zoo.cifar_vit import Block, CifarViT
from xai_zoo.one_stage_detector import halved

_SCALE = 1 / 0.07
"""Scale of the logits before training (Radford et al., 2021, section 2.5)."""


class SmallCLIP(nn.Module):
    """An image encoder and a text encoder with one embedding space: logits are scale * cos(image, text).

    The image encoder is a vision transformer with a class token and overlapping patches of 8x8 pixels. The output for
    images alone is {"image_embeds": [B,D]}.

    Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021.

    Parameters
    ----------
    size
        Side of the images in pixels.
    dim
        Width of both encoders, and length of embeddings.
    depth
        Number of blocks of the image encoder.
    words, length
        Number of words, including the padding with id 0, and the number of words of a text.
    """

    def __init__(self, size: int, dim: int, depth: int, words: int, length: int) -> None:
        super().__init__()
        self.visual = CifarViT(size, 8, dim, 4, depth, 2 * dim, 0.0, dim)
        self.visual.patches = residual_patches(dim)
        self.text = TextEncoder(words, length, dim)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(_SCALE)))

    def forward(self, images: Float[Tensor, "B 3 S S"]) -> dict[str, Tensor]:
        return {"image_embeds": self.encode_image(images)}

    def encode_image(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B D"]:
        """Return the embeddings of images. They are not normalized."""
        return self.visual(images)

    def encode_text(self, ids: Int[Tensor, "T L"]) -> Float[Tensor, "T D"]:
        """Return the embeddings of texts. They are not normalized."""
        return self.text(ids)


def residual_patches(dim: int) -> nn.Sequential:
    """Return overlapping patches of 8x8 pixels: residual blocks, as in the hybrid of Dosovitskiy et al. (2021)."""
    stem, middle = dim // 4, dim // 2
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, stem, 3, 2, 1, bias=False), nn.BatchNorm2d(stem), nn.ReLU()),
        halved(stem, middle),
        halved(middle, dim),
        BasicBlock(dim, dim),
    )


class TextEncoder(nn.Module):
    """A transformer with two blocks, and the mean of its words: [T,L] -> [T,D]. Words with id 0 are padding."""

    def __init__(self, words: int, length: int, dim: int) -> None:
        super().__init__()
        self.words = nn.Embedding(words, dim)
        self.positions = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, length, dim), std=0.02))
        self.blocks = nn.Sequential(*(Block(dim, 4, 2 * dim, 0.0) for _ in range(2)))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, dim)

    def forward(self, ids: Int[Tensor, "T L"]) -> Float[Tensor, "T D"]:
        tokens = self.norm(self.blocks(self.words(ids) + self.positions))
        present = (ids > 0).to(tokens)[:, :, None]
        return self.head((tokens * present).sum(1) / present.sum(1))
