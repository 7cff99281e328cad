"""BAM, the bottleneck attention module."""

from jaxtyping import Float
from torch import Tensor, nn


class BAM(nn.Module):
    """Gates channels and locations together: F' = F + M(F) F, M(F) = sigmoid(Mc(F) + Ms(F)).

    Source: Park et al., BMVC 2018, eq. 1-2.

    The equations omit the ReLU between the layers of Mc and Ms. It is included here, as in any MLP.
    """

    def __init__(self, channels: int, reduction: int = 16, dilation: int = 4) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.channel = nn.Sequential(  # eq. 3
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1),
            nn.BatchNorm2d(channels),
        )
        self.spatial = nn.Sequential(  # eq. 4
            nn.Conv2d(channels, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=dilation, dilation=dilation),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=dilation, dilation=dilation),
            nn.ReLU(),
            nn.Conv2d(hidden, 1, 1),
            nn.BatchNorm2d(1),
        )

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        return x * (1 + (self.channel(x) + self.spatial(x)).sigmoid())
