"""Tiny models that generate text about an image, with random weights."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    BlipConfig,
    BlipForConditionalGeneration,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
)

from support.models import settled
from support.seeding import seed

SIZES: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
}  # fmt: skip
VISION = {**SIZES, "image_size": 32, "patch_size": 8}
PROMPT = torch.tensor([[2, 5, 6]])
IMAGE_TOKEN = 20
LLAVA_PROMPT = torch.tensor([[1] + [IMAGE_TOKEN] * 16 + [4, 5]])


def blip() -> Any:
    seed()
    text = {
        **SIZES, "vocab_size": 20, "encoder_hidden_size": 32, "max_position_embeddings": 16, "bos_token_id": 2,
        "eos_token_id": 3, "pad_token_id": 0, "sep_token_id": 3,
    }  # fmt: skip
    return settled(BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=VISION)))


def llava() -> Any:
    seed()
    text = LlamaConfig(**SIZES, vocab_size=24, num_key_value_heads=2, max_position_embeddings=64)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**VISION), text_config=text, image_token_id=IMAGE_TOKEN,
        vision_feature_layer=-1,
    )  # fmt: skip
    return settled(LlavaForConditionalGeneration(config))


def caption(model: nn.Module, images: Tensor) -> Any:
    """BLIP's output after a prompt."""
    return model(pixel_values=images, input_ids=PROMPT.expand(len(images), -1))


def answer(model: nn.Module, images: Tensor) -> Any:
    """LLaVA's output after a prompt with the tokens of the image."""
    return model(pixel_values=images, input_ids=LLAVA_PROMPT.expand(len(images), -1), use_cache=False)


CAPTIONERS = {"BLIP": (blip, caption, "vision_model"), "LLaVA": (llava, answer, "model.vision_tower")}
"""A model, its `forward=`, and the name of its vision tower."""
