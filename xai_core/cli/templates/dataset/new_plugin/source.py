"""Pictures of one disc on noise, with a mask of the disc."""

from dataclasses import dataclass

import torch

import xai_core as xai
from xai_core.errors import OptionError, UnknownDatasetError
from xai_core.plugin import DatasetSource


@dataclass(frozen=True)
class Discs:
    """Pictures of a disc, each made when it is asked for; item i is the same on every machine."""

    count: int
    size: int
    seed: int
    class_names: tuple[str, ...] = ("dark", "light")

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> xai.Sample:
        """Make a picture: its class is how light the disc is, its mask where the disc is."""
        index = range(self.count)[index]  # raises IndexError, and takes -1
        target = index % len(self.class_names)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + index)
        radius = self.size / 6
        center = radius + (self.size - 2 * radius) * torch.rand(2, generator=generator)
        places = torch.arange(self.size) + 0.5
        mask = (places[:, None] - center[0]) ** 2 + (places - center[1]) ** 2 < radius**2
        noise = 0.35 + 0.3 * torch.rand(3, self.size, self.size, generator=generator)
        image = torch.where(mask, 0.1 + 0.8 * target, noise)
        row, column = center.tolist()
        box = torch.tensor([[column - radius, row - radius, column + radius, row + radius]])
        return xai.Sample(image, str(index), target, mask, box)


class NewPluginImages(DatasetSource):
    """Pictures of discs, as an example: `new-plugin`, `new-plugin:count=100,size=64,seed=0`; put your data here."""

    name = "new-plugin"

    def load(  # type: ignore[override] # no other options
        self, name: str | None, count: int = 32, size: int = 64, seed: int = 0
    ) -> Discs:
        """Open the data; nothing is made before it is asked for."""
        if name is not None:
            raise UnknownDatasetError(f"new-plugin has no data set {name!r}; expected `new-plugin:count=N`")
        if count < 1 or size < 8:
            raise OptionError(f"new-plugin: count must be at least 1 and size at least 8, got {count} and {size}")
        return Discs(count, size, seed)
