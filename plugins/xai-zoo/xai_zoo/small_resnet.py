"""A small ResNet with CBAM for small images."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from xai_zoo.cbam import CBAM


class SmallResNet(nn.Module):
    """ResNet of torchvision's basic blocks, with CBAM after each stage: [B,3,H,W] -> [B,classes].

    Each stage doubles the channels. The stem halves the image, and so does every stage except the first.

    Parameters
    ----------
    width
        Channels of the stem and of the first stage.
    blocks
        Number of blocks of each stage.
    reduction, kernel
        Options of CBAM.
    """

    def __init__(self, width: int, blocks: Sequence[int], reduction: int, kernel: int, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        stages = [
            nn.Sequential(_blocks(number, width, count), CBAM(width * 2**number, reduction, kernel))
            for number, count in enumerate(blocks)
        ]
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(width * 2 ** (len(blocks) - 1), num_classes)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B classes"]:
        return self.head(self.stages(self.stem(images)).mean((2, 3)))


def _blocks(stage: int, width: int, count: int) -> nn.Sequential:
    """Return the blocks of a stage, counted from 0."""
    channels = width * 2**stage
    if stage == 0:
        return nn.Sequential(*(BasicBlock(channels, channels) for _ in range(count)))
    halved = nn.Sequential(nn.Conv2d(channels // 2, channels, 1, 2, bias=False), nn.BatchNorm2d(channels))
    return nn.Sequential(
        BasicBlock(channels // 2, channels, 2, halved), *(BasicBlock(channels, channels) for _ in range(count - 1))
    )
