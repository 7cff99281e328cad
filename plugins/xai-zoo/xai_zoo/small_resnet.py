"""A small ResNet with CBAM for small pictures."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from xai_zoo.cbam import CBAM


class SmallResNet(nn.Module):
    """torchvision's basic blocks in stages, each of twice the channels and followed by CBAM: [B,3,H,W] -> [B,classes].

    The stem halves the picture, and every stage but the first halves what it is given.

    Parameters
    ----------
    width
        The channels of the stem and of the first stage.
    blocks
        How many blocks each stage has.
    reduction, kernel
        Of CBAM.
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
    """The blocks of a stage, counted from 0."""
    made = width * 2**stage
    if stage == 0:
        return nn.Sequential(*(BasicBlock(made, made) for _ in range(count)))
    halved = nn.Sequential(nn.Conv2d(made // 2, made, 1, 2, bias=False), nn.BatchNorm2d(made))
    return nn.Sequential(BasicBlock(made // 2, made, 2, halved), *(BasicBlock(made, made) for _ in range(count - 1)))
