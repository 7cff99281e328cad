"""Small segmentation models of transformers with random weights, for images of 64x64 pixels."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    DetrConfig,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    MaskFormerConfig,
    MaskFormerForInstanceSegmentation,
    SamConfig,
    SamModel,
    SwinConfig,
)

from support.models import settled

Forward = Callable[[nn.Module, Tensor], Any]
CLASSES = 3


@cache
def mask_classifier(name: str) -> nn.Module:
    """A `mask2former` or a `maskformer` with five queries and three classes."""
    torch.manual_seed(0)
    backbone = SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=2,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    if name == "mask2former":
        config = Mask2FormerConfig(
            backbone_config=backbone,
            feature_size=32,
            mask_feature_size=32,
            hidden_dim=32,
            encoder_feedforward_dim=16,
            encoder_layers=1,
            decoder_layers=2,
            num_attention_heads=2,
            dim_feedforward=16,
            num_queries=5,
            num_labels=CLASSES,
        )
        return settled(Mask2FormerForUniversalSegmentation(config))
    decoder = DetrConfig(
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_queries=5,
    )
    former = MaskFormerConfig(
        backbone_config=backbone,
        decoder_config=decoder,
        fpn_feature_size=32,
        mask_feature_size=32,
        num_labels=CLASSES,
    )
    return settled(MaskFormerForInstanceSegmentation(former))


@cache
def sam() -> nn.Module:
    """A SAM with two transformer layers, which returns masks of 32x32 pixels."""
    torch.manual_seed(0)
    transformer: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_dim": 16}
    image: dict[str, Any] = {"image_size": 64, "patch_size": 8}
    config = SamConfig(
        vision_config={
            **transformer, **image, "output_channels": 16, "window_size": 4, "global_attn_indexes": [1],
            "num_pos_feats": 8,
        },
        prompt_encoder_config={"hidden_size": 16, **image, "mask_input_channels": 4},
        mask_decoder_config={**transformer, "iou_head_depth": 2, "iou_head_hidden_dim": 16},
    )  # fmt: skip
    return settled(SamModel(config))


def prompted(prompts: int) -> Forward:
    """Return a function that calls SAM with one point for each prompt."""
    points = torch.tensor([[[20.0, 20.0]], [[44.0, 40.0]]])[None, :prompts]

    def forward(model: nn.Module, images: Tensor) -> Any:
        return model(pixel_values=images, input_points=points.expand(len(images), -1, -1, -1))

    return forward
