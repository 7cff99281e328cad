"""A small U-Net for small images."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock


class SmallUNet(nn.Module):
    """U-Net with two halvings after the stem, and residual blocks in the encoder: [B,3,H,W] -> [B,classes,H,W].

    The stem halves the image, so the scores are computed at half of its size and enlarged.

    Source: Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI
    2015.

    Parameters
    ----------
    width
        Channels of the stem. Each halving doubles them.
    num_classes
        Number of classes, including the background.
    """

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.stem = _convolved(3, width, stride=2)
        self.middle = _halved(width, 2 * width)
        self.bottleneck = nn.Sequential(_halved(2 * width, 4 * width), BasicBlock(4 * width, 4 * width))
        self.up_middle = _convolved(6 * width, 2 * width)
        self.up_stem = _convolved(3 * width, width)
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B classes H W"]:
        stem = self.stem(images)
        middle = self.middle(stem)
        deep = self.bottleneck(middle)
        joined = self.up_middle(torch.cat([_enlarged(deep), middle], 1))
        joined = self.up_stem(torch.cat([_enlarged(joined), stem], 1))
        return _enlarged(self.head(joined))


def _enlarged(features: Tensor) -> Tensor:
    return F.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)


def _convolved(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


def _halved(channels: int, outputs: int) -> BasicBlock:
    """Return a residual block that halves the height and the width."""
    shortcut = nn.Sequential(nn.Conv2d(channels, outputs, 1, 2, bias=False), nn.BatchNorm2d(outputs))
    return BasicBlock(channels, outputs, 2, shortcut)
