"""A small convolutional network."""

import torch
from torch import nn


class Network(nn.Module):
    """Two convolutions, global average pooling, and a linear head: [B,3,H,W] -> [B,classes]."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, width, 3, 2, 1), nn.ReLU()), *(nn.Conv2d(width, 2 * width, 3, 2, 1), nn.ReLU())
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(2 * width, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return class scores."""
        return self.head(self.pool(self.features(images)).flatten(1))
