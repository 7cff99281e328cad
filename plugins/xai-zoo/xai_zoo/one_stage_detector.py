"""A small one-stage object detector."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

STRIDE = 8
"""Pixels per cell."""
_PRIOR = 0.01
"""Probability of a class in a cell before training (Lin et al., 2017, section 4.1)."""


class OneStageDetector(nn.Module):
    """A detector with one box per cell of 8x8 pixels, as in FCOS, and the output of a YOLO head: [B,4+classes,cells].

    The output contains the center, the width and the height of each box in pixels, and the probability of each class.

    Source: Tian et al., "FCOS: Fully Convolutional One-Stage Object Detection", ICCV 2019, with one level and without
    the centerness branch.

    Parameters
    ----------
    width
        Channels of the last features.
    num_classes
        Number of classes.
    """

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        stem, middle = width // 3, width // 2
        self.body = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, stem, 3, 2, 1, bias=False), nn.BatchNorm2d(stem), nn.ReLU()),
            halved(stem, middle),
            halved(middle, width),
            BasicBlock(width, width),
        )
        self.boxes = nn.Conv2d(width, 4, 1)
        self.classes = nn.Conv2d(width, num_classes, 1)
        nn.init.constant_(self.classes.bias, -math.log(1 / _PRIOR - 1))  # type: ignore[arg-type] # there is a bias

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B outputs cells"]:
        boxes, logits = self.cells(images)
        first, second = boxes[:, :2], boxes[:, 2:]
        return torch.cat([(first + second) / 2, second - first, logits.sigmoid()], 1)

    def cells(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Tensor, Tensor]:
        """Return the boxes [B,4,cells] xyxy in pixels and the class logits [B,classes,cells] of the cells."""
        features = self.body(images)
        distances = STRIDE * F.softplus(self.boxes(features).flatten(2))
        points = cell_centers(features.shape[2], features.shape[3]).to(features)
        return torch.cat([points - distances[:, :2], points + distances[:, 2:]], 1), self.classes(features).flatten(2)


def cell_centers(rows: int, columns: int) -> Float[Tensor, "2 cells"]:
    """Return x and y of the center of each cell in pixels, row by row."""
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return STRIDE * (torch.stack([x, y]).flatten(1) + 0.5)


def halved(channels: int, outputs: int) -> BasicBlock:
    """Return a residual block that halves the height and the width."""
    shortcut = nn.Sequential(nn.Conv2d(channels, outputs, 1, 2, bias=False), nn.BatchNorm2d(outputs))
    return BasicBlock(channels, outputs, 2, shortcut)
