"""Small detectors of torchvision and transformers with random weights."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torchvision.models import ResNet, detection
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.ssd import SSD, SSDHead
from torchvision.models.resnet import BasicBlock
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7
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
SMALL: dict[str, Any] = {"min_size": SIZE, "max_size": SIZE, "detections_per_img": 8, "score_thresh": 0.0}
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


def pyramid(levels: tuple[int, ...], channels: int = 32) -> BackboneWithFPN:
    """Return a small ResNet with a feature pyramid, as in torchvision's detectors."""
    outputs = {f"layer{level}": str(index) for index, level in enumerate(levels)}
    extra = LastLevelMaxPool() if 1 in levels else LastLevelP6P7(channels, channels)
    widths = [64 * 2 ** (level - 1) for level in levels]
    return BackboneWithFPN(ResNet(BasicBlock, [1] * 4), outputs, widths, channels, extra)


def faster_rcnn() -> nn.Module:
    limits: dict[str, Any] = {"box_score_thresh": 0.0, "box_detections_per_img": 8}
    sizes: dict[str, Any] = {"min_size": SIZE, "max_size": SIZE}
    return detection.FasterRCNN(pyramid((1, 2, 3, 4)), CLASSES, **limits, **sizes, rpn_post_nms_top_n_test=100)


def keypoint_rcnn() -> nn.Module:
    return detection.KeypointRCNN(
        pyramid((1, 2, 3, 4)),
        min_size=SIZE,
        max_size=SIZE,
        box_head=detection.faster_rcnn.TwoMLPHead(32 * 7 * 7, 32),
        box_predictor=detection.faster_rcnn.FastRCNNPredictor(32, CLASSES),
        keypoint_head=detection.keypoint_rcnn.KeypointRCNNHeads(32, (8,)),
        keypoint_predictor=detection.keypoint_rcnn.KeypointRCNNPredictor(8, 4),
        rpn_post_nms_top_n_test=20,
        box_score_thresh=0.0,
        box_detections_per_img=8,
    )


def retinanet() -> nn.Module:
    return detection.RetinaNet(pyramid((2, 3, 4)), CLASSES, **SMALL)


def fcos() -> nn.Module:
    return detection.FCOS(pyramid((2, 3, 4), 64), CLASSES, **SMALL)


def ssd() -> nn.Module:
    backbone = IntermediateLayerGetter(ResNet(BasicBlock, [1] * 4), {"layer3": "0", "layer4": "1"})
    anchors = DefaultBoxGenerator([[2], [2]])
    head = SSDHead([256, 512], anchors.num_anchors_per_location(), CLASSES)
    limits: dict[str, Any] = {"score_thresh": 0.0, "detections_per_img": 8}
    return SSD(backbone, anchors, (SIZE, SIZE), CLASSES, head=head, **limits)


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
    "keypoint-rcnn": keypoint_rcnn,
    "retinanet": retinanet,
    "fcos": fcos,
    "ssd": ssd,
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
    if name in ("ssd", "keypoint-rcnn"):
        return model.eval()
    if name not in ("retinanet", "fcos"):
        return settled(model)
    torch.nn.init.normal_(model.head.classification_head.cls_logits.bias, 0, 0.5)
    return model.eval()
