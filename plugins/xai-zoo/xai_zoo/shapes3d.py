"""Synthetic volumes with ground truth: one solid that determines the class, and a distractor in noise."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

import xai_core as xai
from xai_core.plugin import DatasetSource
from xai_zoo import solids
from xai_zoo.shapes import SPLITS, Vector, check

DEPTH, SIDE = 24, 48
_SIDES = (0.28, 0.38)  # cube root of a solid's volume, relative to the side of the volume
_NOISE = 0.08  # standard deviation of the noise of voxels
_LEVELS = (0.15, 0.45)  # of the background
_BRIGHT = (0.65, 0.95)  # of solids


@dataclass(frozen=True)
class Shapes3dDataset:
    """Volumes [1,24,48,48] of solids, generated on access. Slices are twice as thick as pixels are wide.

    The class of item i is i modulo the number of classes. All other properties are random and independent of the class:
    background, noise, and brightness, size, rotation and position of the object and of the distractor. The distractor
    is a torus. The object covers it where both overlap. The random generator is seeded with `seed`, `split` and i.
    """

    count: int
    seed: int
    split: str
    class_names: Sequence[str] = tuple(solids.CLASSES)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> xai.Sample:
        index = range(self.count)[index]
        random = np.random.default_rng([self.seed, SPLITS.index(self.split), index])
        target = index % len(self.class_names)
        volume = _background(random)
        center = random.uniform(0.28, 0.72, 3)
        away = random.uniform(0.2, 0.8, (4, 3))
        mask = _inside(random, solids.CLASSES[self.class_names[target]], center)
        distractor = _inside(random, solids.torus, away[np.square(away - center).sum(1).argmax()]) & ~mask
        for inside in (distractor, mask):
            volume[inside] = random.uniform(*_BRIGHT)
        volume += _NOISE * random.standard_normal(volume.shape)
        return xai.Sample(
            image=torch.from_numpy(np.rint(255 * volume.clip(0, 1)).astype(np.uint8))[None] / 255,
            id=f"{self.split}-{index}",
            target=target,
            mask=torch.from_numpy(mask),
            distractors=torch.from_numpy(distractor)[None],
        )


class Shapes3d(DatasetSource):
    """Synthetic solids in noisy volumes with exact masks: `shapes3d`, `shapes3d:count=500,split=test`.

    Options and defaults: `count` of volumes (2000), `seed` (0), and `split` (`train`). `split` is `train`, `validation`
    or `test`. No two splits share a volume.
    """

    name = "shapes3d"

    def load(  # type: ignore[override] # the registry rejects other options
        self, name: str | None, count: int = 2000, seed: int = 0, split: str = "train"
    ) -> Shapes3dDataset:
        check(self.name, name, SIDE, count, seed, split)
        return Shapes3dDataset(count, seed, split)


def _background(random: np.random.Generator) -> Vector:
    """Return a smooth random background [D,H,W]."""
    coarse = torch.from_numpy(random.uniform(*_LEVELS, (1, 1, 4, 4, 4)))
    return F.interpolate(coarse, (DEPTH, SIDE, SIDE), mode="trilinear", align_corners=True)[0, 0].numpy()


def _inside(random: np.random.Generator, solid: solids.Solid, center: Vector) -> NDArray[np.bool_]:
    """Return the voxels [D,H,W] whose centers are inside a solid of random size and rotation at a center (z, y, x)."""
    axes = [(np.arange(count) + 0.5) / count for count in (DEPTH, SIDE, SIDE)]
    points = np.stack(np.meshgrid(*axes, indexing="ij")) - center[:, None, None, None]
    return solid(np.tensordot(solids.rotation(random), points, 1) / random.uniform(*_SIDES))
