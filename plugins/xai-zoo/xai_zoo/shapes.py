"""Synthetic images with ground truth: one shape that determines the class, and distractors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import xai_core as xai
from xai_core.plugin import DatasetSource, UnknownDatasetError, check_choice, check_integer
from xai_zoo import outlines
from xai_zoo.painting import Figure, paint
from xai_zoo.textures import texture

Vector = NDArray[np.float64]
SPLITS = ("train", "validation", "test")
_SIDES = (0.22, 0.34)  # square root of a figure's area, relative to the image's side
_BAR = 0.14  # maximum bar width relative to the object's side: a bar hides at most a quarter of an object


class Scene(NamedTuple):
    """Components of an image: a background [3,H,H] and figures on it, later figures over earlier ones.

    `truth` is the index of the figure that determines the class, and `distractors` are the indices of the others.
    """

    background: NDArray[np.uint8]
    figures: Sequence[Figure]
    truth: int | None
    distractors: Sequence[int]


@dataclass(frozen=True)
class ShapesDataset:
    """Images of shapes, generated on access. Item i is identical on every machine.

    The class of item i is i modulo the number of classes. All other properties are random and independent of the class:
    texture, and color, size, rotation and position of object and distractors. The random generator is seeded with
    `seed`, `split` and i. One to three distractors (clovers and waves) are behind the object. In half of the images, a
    bar is in front of it.
    """

    size: int
    count: int
    seed: int
    split: str
    class_names: Sequence[str] = tuple(outlines.CLASSES)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> xai.Sample:
        index = range(self.count)[index]
        target = index % len(self.class_names)
        scene = self.scene(index, target)
        image, visible = paint(scene.background, scene.figures)
        masks = torch.from_numpy(visible > 0.5)
        mask = None if scene.truth is None else masks[scene.truth]
        return xai.Sample(
            image=torch.from_numpy(image),
            id=f"{self.split}-{index}",
            target=target,
            mask=mask,
            boxes=None if mask is None else bounding_box(mask)[None],
            distractors=masks[list(scene.distractors)],
        )

    def generator(self, *key: int) -> np.random.Generator:
        """Return the random generator of a key in this split, for this seed."""
        return np.random.default_rng([self.seed, SPLITS.index(self.split), *key])

    def scene(self, index: int, target: int) -> Scene:
        """Return the random scene of item `index`, with an object of class `target`."""
        random = self.generator(index)
        background = texture(random, self.size)
        backdrop = background.mean((1, 2))
        side = random.uniform(*_SIDES)
        center = random.uniform(outlines.REACH * side, 1 - outlines.REACH * side, 2)
        shape = outlines.CLASSES[self.class_names[target]]
        turn = random.uniform(0, 2 * np.pi)
        object_ = Figure(outlines.moved(shape, center, side, turn), _color(random, backdrop))
        behind = [_distractor(random, backdrop, center) for _ in range(random.integers(1, 4))]
        before = [_bar(random, backdrop, center, side)] if random.random() < 0.5 else []
        figures = [*behind, object_, *before]
        distractors = [position for position, figure in enumerate(figures) if figure is not object_]
        return Scene(background, figures, len(behind), distractors)


class Shapes(DatasetSource):
    """Synthetic shapes on natural textures with exact masks: `shapes`, `shapes:size=96,count=500,split=test`.

    Options and defaults: image `size` (64), `count` of images (2000), `seed` (0), and `split` (`train`). `split` is
    `train`, `validation` or `test`. No two splits share an image.
    """

    name = "shapes"

    def load(  # type: ignore[override] # the registry rejects other options
        self, name: str | None, size: int = 64, count: int = 2000, seed: int = 0, split: str = "train"
    ) -> ShapesDataset:
        check(self.name, name, size, count, seed, split)
        return ShapesDataset(size, count, seed, split)


def check(source: str, name: str | None, size: int, count: int, seed: int, split: str) -> None:
    """Require valid options of a shapes dataset."""
    if name is not None:
        raise UnknownDatasetError(
            f"{source} provides one dataset; expected `{source}:size=64,...`, got the name {name!r}"
        )
    check_integer("size", size, 32)
    check_integer("count", count, 1)
    check_integer("seed", seed, 0)
    check_choice("split", split, SPLITS)


def bounding_box(mask: Tensor) -> Tensor:
    """Return the box [4] of a mask [H,W] as (left, top, right, bottom)."""
    columns, rows = mask.any(0).nonzero(), mask.any(1).nonzero()
    return torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]).flatten().float()


def _distractor(random: np.random.Generator, backdrop: Vector, away: Vector) -> Figure:
    outline = (outlines.clover, outlines.wave)[random.integers(2)](random)
    center = _farthest(random.random((4, 2)), away)
    outline = outlines.moved(outline, center, random.uniform(*_SIDES), random.uniform(0, 2 * np.pi))
    return Figure(outline, _color(random, backdrop))


def _bar(random: np.random.Generator, backdrop: Vector, center: Vector, side: float) -> Figure:
    aside = np.array([0, random.uniform(-0.4, 0.4)])
    outline = outlines.bar(length=2.5, width=random.uniform(_BAR / 2, _BAR)) + aside
    return Figure(outlines.moved(outline, center, side, random.uniform(0, 2 * np.pi)), _color(random, backdrop))


def _color(random: np.random.Generator, backdrop: Vector) -> NDArray[np.uint8]:
    """Return the random color that differs most from the background."""
    return _farthest(random.integers(0, 256, (4, 3), dtype=np.uint8), backdrop)


def _farthest(candidates: NDArray[Any], away: Vector) -> NDArray[Any]:
    return candidates[np.argmax(np.square(candidates - away).sum(1))]
