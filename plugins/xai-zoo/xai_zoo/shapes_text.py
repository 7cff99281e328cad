"""Synthetic images with ground truth for models of images and texts: two objects, and a sentence about one of them."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

import xai_core as xai
from xai_core.plugin import DatasetSource, check_choice
from xai_zoo import outlines
from xai_zoo.painting import Figure, paint
from xai_zoo.shapes import SPLITS, Vector, bounding_box, check
from xai_zoo.textures import texture

COLORS = {
    "black": (20, 20, 20),
    "blue": (30, 70, 235),
    "green": (20, 160, 50),
    "red": (225, 30, 30),
    "white": (240, 240, 240),
    "yellow": (245, 210, 20),
}
SHAPES = ("circle", "cross", "heart", "square", "star", "triangle")
RELATIONS = ("left of", "right of", "above", "below")
SENTENCES = ("both", "phrase", "relation")
SHOWN = ("both", "named", "other")
WORDS = tuple(sorted({"a", "the", *COLORS, *SHAPES, *" ".join(RELATIONS).split()}))
"""The words of all sentences."""
_SIDES = (0.22, 0.28)  # square root of an object's area, relative to the image's side
_TURN = np.pi / 8  # largest rotation
_FADED = 0.4  # contrast of the texture, around gray
_JITTER = 15  # largest change of a color's components


class Object(NamedTuple):
    """A colored shape, with its center [2] (x, y) relative to the image's side."""

    color: str
    shape: str
    center: Vector

    @property
    def phrase(self) -> str:
        """The phrase that names the object, such as "a red star"."""
        return _phrase(self.color, self.shape)


@dataclass(frozen=True)
class ShapesTextDataset:
    """Images of two colored shapes, each with a sentence about one of them. Item i is identical on every machine.

    The sentence is a phrase ("a red star") or a relation to the other object ("the red star left of the square"). The
    mask covers the object that the sentence is about, and the other object is a distractor. Its label is the index of
    its phrase in `class_names`. The shapes of both objects differ. All other properties are random. If only one object
    is `shown`, the image is otherwise identical.
    """

    size: int
    count: int
    seed: int
    split: str
    sentences: str = SENTENCES[0]
    shown: str = SHOWN[0]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The phrases of all objects, such as "a red star"."""
        return tuple(_phrase(color, shape) for color in COLORS for shape in SHAPES)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> xai.Sample:
        index = range(self.count)[index]
        random = self._generator(index)
        named, other = _objects(random)
        background = 128 + _FADED * (texture(random, self.size).astype(float) - 128)
        figures = {"named": _figure(random, named), "other": _figure(random, other)}
        painted = [name for name in figures if self.shown in ("both", name)]
        image, visible = paint(background.round().astype(np.uint8), [figures[name] for name in painted])
        masks = dict(zip(painted, torch.from_numpy(visible > 0.5), strict=True))
        mask, distractors = masks.get("named"), [masks[name] for name in painted if name == "other"]
        short = self.sentences == "phrase" or (self.sentences == "both" and index % 2 == 0)
        return xai.Sample(
            image=torch.from_numpy(image),
            id=f"{self.split}-{index}",
            target=self.class_names.index(named.phrase),
            mask=mask,
            boxes=None if mask is None else bounding_box(mask)[None],
            distractors=torch.stack(distractors) if distractors else None,
            text=named.phrase if short else relation(named, other),
        )

    def phrases(self, index: int) -> tuple[str, str]:
        """Return the phrases of the object that the sentence is about, and of the other one."""
        named, other = _objects(self._generator(index))
        return named.phrase, other.phrase

    def _generator(self, index: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, SPLITS.index(self.split), index])


class ShapesText(DatasetSource):
    """Two colored shapes with a sentence about one of them: `shapes-text`, `shapes-text:sentences=phrase,split=test`.

    Options: the options of `shapes`, `sentences` and `shown`. `sentences` is `phrase` ("a red star"), `relation` ("the
    red star left of the square"), or `both` in turn (default). `shown` is `both` objects (default), or only the
    `named` or the `other` one.
    """

    name = "shapes-text"

    def load(  # type: ignore[override] # the registry rejects other options
        self,
        name: str | None,
        size: int = 64,
        count: int = 2000,
        seed: int = 0,
        split: str = "train",
        sentences: str = SENTENCES[0],
        shown: str = SHOWN[0],
    ) -> ShapesTextDataset:
        check(self.name, name, size, count, seed, split)
        check_choice("sentences", sentences, SENTENCES)
        check_choice("shown", shown, SHOWN)
        return ShapesTextDataset(size, count, seed, split, sentences, shown)


def _phrase(color: str, shape: str) -> str:
    return f"a {color} {shape}"


def relation(named: Object, other: Object) -> str:
    """Return the sentence that names an object and its position relative to the other one."""
    x, y = (float(difference) for difference in named.center - other.center)
    side = RELATIONS[x > 0] if abs(x) > abs(y) else RELATIONS[2 + (y > 0)]
    return f"the {named.color} {named.shape} {side} the {other.shape}"


def _objects(random: np.random.Generator) -> tuple[Object, Object]:
    """Return two objects of different shapes that do not overlap: on opposite sides of the image's center."""
    colors, shapes = random.choice([*COLORS], 2).tolist(), random.permutation(SHAPES).tolist()
    turn, distances = random.uniform(0, 2 * np.pi), random.uniform(0.27, 0.3, 2)
    towards = np.array([np.cos(turn), np.sin(turn)])
    first, second = (0.5 + sign * distance * towards for sign, distance in zip((1, -1), distances, strict=True))
    return Object(colors[0], shapes[0], first), Object(colors[1], shapes[1], second)


def _figure(random: np.random.Generator, drawn: Object) -> Figure:
    side, turn = random.uniform(*_SIDES), random.uniform(-_TURN, _TURN)
    outline = outlines.moved(outlines.CLASSES[drawn.shape], drawn.center, side, turn)
    color = np.clip(np.array(COLORS[drawn.color]) + random.integers(-_JITTER, _JITTER + 1, 3), 0, 255)
    return Figure(outline, color.astype(np.uint8))
