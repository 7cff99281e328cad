"""Tiny models that compare images with texts, with random weights and tokenizers of a few words."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from torch import Tensor, nn
from transformers import (
    CLIPConfig,
    CLIPModel,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipModel,
)

from support.attention_models import Encoder
from support.models import settled
from support.seeding import seed

WORDS = ["<start>", "<pad>", "a", "red", "blue", "star", "square", "left", "of", "the", "<end>"]
CONTEXT = 8
TEXTS = ["a red star", "a blue square left of"]
SIZES: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64,
}  # fmt: skip
VISION = {**SIZES, "image_size": 32, "patch_size": 8}
TEXT = {
    **SIZES, "vocab_size": len(WORDS), "max_position_embeddings": CONTEXT, "bos_token_id": 0, "pad_token_id": 1,
    "eos_token_id": WORDS.index("<end>"),
}  # fmt: skip


def word_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of transformers with one token per word."""
    ids = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(WordLevel(ids, unk_token="<pad>"))
    tokenizer.pre_tokenizer = Whitespace()
    ends = [("<start>", 0), ("<end>", ids["<end>"])]
    tokenizer.post_processor = TemplateProcessing(single="<start> $A <end>", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<start>", eos_token="<end>", pad_token="<pad>", unk_token="<pad>",
        model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


def context_tokenizer(texts: str | list[str]) -> Tensor:
    """A tokenizer like those of open_clip: a function that returns token ids [N, context]."""
    rows = [word_tokenizer()(text)["input_ids"] for text in ([texts] if isinstance(texts, str) else texts)]
    return torch.tensor([row + [1] * (CONTEXT - len(row)) for row in rows])


class OpenClip(nn.Module):
    """The methods, parameters and attention modules of open_clip's CLIP."""

    def __init__(self, biased: bool = False) -> None:
        super().__init__()
        self.visual = Encoder(batch_first=True, norm_first=True)
        self.embedding, self.text = nn.Embedding(len(WORDS), 32), nn.Linear(32, 5)
        self.logit_scale = nn.Parameter(torch.tensor(2.0))
        self.logit_bias = nn.Parameter(torch.tensor(-3.0)) if biased else None

    def encode_image(self, image: Tensor, normalize: bool = False) -> Tensor:
        features = self.visual(image)
        return F.normalize(features, dim=-1) if normalize else features

    def encode_text(self, text: Tensor, normalize: bool = False) -> Tensor:
        features = self.text(self.embedding(text).mean(1))
        return F.normalize(features, dim=-1) if normalize else features

    def get_logits(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.logit_scale.exp() * self.encode_image(image, True) @ self.encode_text(text, True).T
        logits = logits if self.logit_bias is None else logits + self.logit_bias
        return logits, logits.T

    def forward(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.encode_image(image, True), self.encode_text(text, True), self.logit_scale.exp()


@dataclass(frozen=True)
class DualEncoder:
    """A model, its tokenizer, and its own logits [B,T] of images and texts."""

    make: Callable[[], Any]
    tokenizer: Callable[..., Any]
    own_logits: Callable[[Any, Tensor, list[str]], Tensor]

    def build(self) -> Any:
        seed()
        return settled(self.make())

    def logits(self, model: Any, images: Tensor, texts: list[str]) -> Tensor:
        return self.own_logits(model, images, texts)


def padded(length: int | None) -> Callable[[Any, Tensor, list[str]], Tensor]:
    """The `logits_per_image` of a model of transformers."""

    def logits(model: Any, images: Tensor, texts: list[str]) -> Tensor:
        padding: Mapping[str, Any] = {"padding": True} if length is None else {"padding": "max_length"}
        tokens = word_tokenizer()(texts, return_tensors="pt", max_length=length, **padding)
        return model(**tokens, pixel_values=images).logits_per_image

    return logits


def open_clip_logits(model: Any, images: Tensor, texts: list[str]) -> Tensor:
    return model.get_logits(images, context_tokenizer(texts))[0]


DUAL_ENCODERS = {
    "CLIP": DualEncoder(
        lambda: CLIPModel(CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=16)),
        word_tokenizer(), padded(None),
    ),
    "SigLIP": DualEncoder(
        lambda: SiglipModel(SiglipConfig(text_config={**TEXT, "projection_size": 32}, vision_config=VISION)),
        word_tokenizer(), padded(CONTEXT),
    ),
    "open_clip": DualEncoder(OpenClip, context_tokenizer, open_clip_logits),
    "open_clip's SigLIP": DualEncoder(lambda: OpenClip(biased=True), context_tokenizer, open_clip_logits),
}  # fmt: skip
