"""Strange layouts of feature maps: in memory, and over the image."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from support.strange import Places, Strange, raster, stage
from support.strange_features import Pooled


class ChannelsLast(Pooled):
    """Features [B,h,w,C]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 8, 8)
        self.mix, self.norm = nn.Linear(16, 16), nn.LayerNorm(16)

    def features(self, images: Tensor) -> Tensor:
        x = self.stem(images).permute(0, 2, 3, 1)
        return self.norm(x + F.gelu(self.mix(x))).permute(0, 3, 1, 2)


class Rearranged(Pooled):
    """Features of the images, which the model transposes, flips or pads first."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.change = change
        self.stem, self.last = stage(3, 16, 8), nn.Conv2d(16, 16, 1)

    def features(self, images: Tensor) -> Tensor:
        return self.last(self.stem(self.change(images)))


def rearranged(change: Callable[[Tensor], Tensor], cells: Tensor, size: tuple[int, int] = (32, 32)) -> Strange:
    return Strange(lambda: Rearranged(change), {"last": Places(cells, "NCHW")}, size=size)


def transpose(images: Tensor) -> Tensor:
    return images.transpose(2, 3)


LAYOUTS: dict[str, Strange] = {
    "channels last": Strange(ChannelsLast, {"norm": Places(raster(4, 4), "NHWC")}),
    "channels last, not square": Strange(ChannelsLast, {"norm": Places(raster(4, 6), "NHWC")}, size=(32, 48)),
    "transposed map": rearranged(transpose, raster(4, 4).mT),
    "transposed map, not square": rearranged(transpose, raster(6, 4).mT, (32, 48)),
    "flipped map": rearranged(lambda images: images.flip(3), raster(4, 4).flip(1)),
    "padded map": rearranged(lambda images: F.pad(images, (0, 12, 0, 12)), raster(4, 4)[:3, :3], (20, 20)),
    "letterboxed map": rearranged(lambda images: F.pad(images, (0, 0, 8, 8)), raster(6, 6)[1:5], (32, 48)),
}
