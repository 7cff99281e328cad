"""Small detectors of torchvision and transformers with random weights."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torchvision.models import detection
from transformers import (
    DeformableDetrConfig,
    DeformableDetrForObjectDetection,
    DetrConfig,
    DetrForObjectDetection,
    ResNetConfig,
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrResNetConfig,
    YolosConfig,
    YolosForObjectDetection,
)

from support.models import settled

SIZE = 128
CLASSES = 4
ANY: dict[str, Any] = {"weights": None, "weights_backbone": None, "num_classes": CLASSES}
SMALL: dict[str, Any] = {**ANY, "min_size": SIZE, "max_size": SIZE, "detections_per_img": 8}
WIDTH: dict[str, Any] = {"d_model": 32, "num_labels": CLASSES}
SHORT: dict[str, Any] = {
    "encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
}  # fmt: skip


def resnet(stages: int = 4) -> ResNetConfig:
    return ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 24, 32][:stages],
        depths=[1] * stages,
        layer_type="basic",
        out_features=[f"stage{number}" for number in range(2, stages + 1)],
    )


def faster_rcnn() -> nn.Module:
    limits = {"box_score_thresh": 0.0, "box_detections_per_img": 8, "min_size": SIZE, "max_size": SIZE}
    return detection.fasterrcnn_mobilenet_v3_large_320_fpn(**ANY, **limits)


def retinanet() -> nn.Module:
    return detection.retinanet_resnet50_fpn(**SMALL, score_thresh=0.0)


def fcos() -> nn.Module:
    return detection.fcos_resnet50_fpn(**SMALL, score_thresh=0.0)


def ssdlite() -> nn.Module:
    return detection.ssdlite320_mobilenet_v3_large(**ANY, score_thresh=0.0, detections_per_img=8)


def detr() -> nn.Module:
    backbone = resnet()
    backbone.out_features = ["stage4"]
    options = {"use_timm_backbone": False, "backbone_config": backbone, "num_queries": 6, "auxiliary_loss": False}
    return DetrForObjectDetection(DetrConfig(**WIDTH, **SHORT, **options))


def deformable_detr() -> nn.Module:
    options = {"use_timm_backbone": False, "backbone_config": resnet(), "num_queries": 6, "num_feature_levels": 3}
    return DeformableDetrForObjectDetection(DeformableDetrConfig(**WIDTH, **SHORT, **options))


def rt_detr() -> nn.Module:
    backbone = RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 24, 32],
        depths=[1] * 4,
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = RTDetrConfig(
        backbone_config=backbone,
        encoder_hidden_dim=32,
        encoder_in_channels=[16, 24, 32],
        decoder_in_channels=[32] * 3,
        num_queries=6,
        encoder_attention_heads=2,
        num_denoising=0,
        **WIDTH,
        **{name: value for name, value in SHORT.items() if name != "encoder_attention_heads"},
    )
    return RTDetrForObjectDetection(config)


def yolos() -> nn.Module:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return YolosForObjectDetection(
        YolosConfig(**sizes, image_size=[SIZE, SIZE], patch_size=16, num_detection_tokens=6, num_labels=CLASSES)
    )


FAMILIES: dict[str, Callable[[], nn.Module]] = {
    "faster-rcnn": faster_rcnn,
    "retinanet": retinanet,
    "fcos": fcos,
    "ssdlite": ssdlite,
    "detr": detr,
    "deformable-detr": deformable_detr,
    "rt-detr": rt_detr,
    "yolos": yolos,
}


def family(name: str) -> nn.Module:
    """Return a detector in evaluation mode. Its weights are random, and do not depend on other tests.

    The scores of torchvision's detectors are not saturated: the weights of their backbones are not changed.
    """
    torch.manual_seed(0)
    model = FAMILIES[name]()
    if name not in ("retinanet", "fcos"):
        return settled(model)
    torch.nn.init.normal_(model.head.classification_head.cls_logits.bias, 0, 0.5)
    return model.eval()
