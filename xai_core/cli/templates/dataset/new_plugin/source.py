"""Images of one disc on noise, with a mask of the disc."""

from dataclasses import dataclass

import torch

import xai_core as xai
from xai_core.plugin import DatasetSource, UnknownDatasetError, check_integer


@dataclass(frozen=True)
class Discs:
    """Images of a disc, generated on access. Item i is the same on every machine."""

    count: int
    size: int
    seed: int
    class_names: tuple[str, ...] = ("dark", "light")

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> xai.Sample:
        """Generate a sample: the class is the brightness of the disc, and the mask is the disc."""
        index = range(self.count)[index]  # raises IndexError, and supports negative indices
        target = index % len(self.class_names)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + index)
        radius = self.size / 6
        center = radius + (self.size - 2 * radius) * torch.rand(2, generator=generator)
        pixels = torch.arange(self.size) + 0.5
        mask = (pixels[:, None] - center[0]) ** 2 + (pixels - center[1]) ** 2 < radius**2
        noise = 0.35 + 0.3 * torch.rand(3, self.size, self.size, generator=generator)
        image = torch.where(mask, 0.1 + 0.8 * target, noise)
        row, column = center.tolist()
        box = torch.tensor([[column - radius, row - radius, column + radius, row + radius]])
        return xai.Sample(image, str(index), target, mask, box)


class NewPluginImages(DatasetSource):
    """Images of discs: `new-plugin`, `new-plugin:count=100,size=64,seed=0`. TODO: replace this example by your data."""

    name = "new-plugin"

    def load(  # type: ignore[override] # no other options
        self, name: str | None, count: int = 32, size: int = 64, seed: int = 0
    ) -> Discs:
        """Return the dataset. Its images are generated on access."""
        if name is not None:
            raise UnknownDatasetError(f"expected `new-plugin:count=N` without a name, got `new-plugin:{name}`")
        return Discs(check_integer("count", count, 1), check_integer("size", size, 8), check_integer("seed", seed, 0))
