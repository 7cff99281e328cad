"""CBAM, the convolutional block attention module."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class CBAM(nn.Module):
    """Gates channels, then locations: F' = Mc(F) F, F'' = Ms(F') F' (Woo et al., 2018, eq. 1)."""

    def __init__(self, channels: int, reduction: int = 16, kernel: int = 7) -> None:
        super().__init__()
        self.channel = ChannelGate(channels, reduction)
        self.spatial = SpatialGate(kernel)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        x = self.channel(x) * x
        return self.spatial(x) * x


class ChannelGate(nn.Module):
    """Mc(F) = sigmoid(MLP(AvgPool(F)) + MLP(MaxPool(F))), one MLP for both (eq. 2)."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False), nn.ReLU(), nn.Conv2d(hidden, channels, 1, bias=False)
        )

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C 1 1"]:
        average, largest = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        return (self.mlp(average) + self.mlp(largest)).sigmoid()


class SpatialGate(nn.Module):
    """Ms(F) = sigmoid(conv([AvgPool(F), MaxPool(F)])), pooled over channels (eq. 3)."""

    def __init__(self, kernel: int = 7) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 1 H W"]:
        return self.conv(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)).sigmoid()
