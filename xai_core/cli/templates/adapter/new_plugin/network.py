"""Network whose tokens are in column-major order, which the built-in adapters misinterpret."""

import torch
from torch import nn


class ColumnNetwork(nn.Module):
    """Tokens of 4x4 patches in column-major order, two layers per token, mean and head: [B,3,H,W] -> [B,5]."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.mixer = nn.Sequential(nn.Linear(16, 16), nn.GELU(), nn.Linear(16, 16))
        self.head = nn.Linear(16, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return class scores."""
        tokens = self.patches(images).transpose(2, 3).flatten(2).transpose(1, 2)  # [B,w*h,16]
        return self.head(self.mixer(tokens).square().mean(1))
