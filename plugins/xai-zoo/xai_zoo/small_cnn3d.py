"""A small 3-D network for volumes."""

from jaxtyping import Float
from torch import Tensor, nn


class SmallCNN3d(nn.Module):
    """Five 3-D convolutions with batch norm, without residual connections: [B,1,D,H,W] -> [B,classes].

    The first one halves height and width, and the second and the fourth one halve all three.

    Parameters
    ----------
    width
        Channels of the first convolution. The last ones have four times as many.
    num_classes
        Number of classes.
    """

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolved(1, width, (1, 2, 2)),
            *_convolved(width, 2 * width, 2),
            *_convolved(2 * width, 2 * width, 1),
            *_convolved(2 * width, 4 * width, 2),
            *_convolved(4 * width, 4 * width, 1),
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten())
        self.head = nn.Linear(4 * width, num_classes)

    def forward(self, volumes: Float[Tensor, "B 1 D H W"]) -> Float[Tensor, "B classes"]:
        return self.head(self.pool(self.body(volumes)))


def _convolved(inputs: int, outputs: int, stride: int | tuple[int, int, int]) -> list[nn.Module]:
    return [nn.Conv3d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm3d(outputs), nn.ReLU()]
