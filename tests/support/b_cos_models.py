"""Small B-cos networks with random weights, with the explanation mode of the authors' library."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BCosConv(nn.Module):
    """Convolution with weights of norm one, times the absolute cosine of each patch and the weight (B = 2)."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.stride, self.padding, self.detach = stride, size // 2, False

    def set_explanation_mode(self, activate: bool = True) -> None:
        self.detach = activate

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight / self.weight.flatten(1).norm(dim=1)[:, None, None, None]
        linear = F.conv2d(x, weight, None, self.stride, self.padding)
        ones = torch.ones_like(weight[:1])
        norm = (F.conv2d(x.square(), ones, None, self.stride, self.padding) + 1e-6).sqrt()
        scale = linear.abs() / norm
        return linear * (scale.detach() if self.detach else scale)


class BCosCNN(nn.Module):
    """Three B-cos convolutions and a mean. The model appends the channels 1 - x itself, unless `encoded` is true."""

    def __init__(self, encoded: bool = False, classes: int = 5) -> None:
        super().__init__()
        self.encoded = encoded
        self.body = nn.Sequential(BCosConv(6, 8, 3, 2), BCosConv(8, 12, 3, 2))
        self.head = BCosConv(12, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x if self.encoded else encoded(x))).mean((2, 3))


def encoded(images: Tensor) -> Tensor:
    """Append the channels 1 - x."""
    return torch.cat([images, 1 - images], 1)
