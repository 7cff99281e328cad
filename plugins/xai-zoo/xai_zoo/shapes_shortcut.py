"""Shapes with a mark that reveals the class. A model trained on them relies on the mark, which is the ground truth."""

from colorsys import hsv_to_rgb
from dataclasses import dataclass

import numpy as np

from xai_core.plugin import DatasetSource, check_choice
from xai_zoo.outlines import bar
from xai_zoo.painting import Figure
from xai_zoo.shapes import Scene, ShapesDataset, check

MARKS = ("shown", "moved", "removed")
_SIDE = 0.1
_FROM_CENTER = 0.44


@dataclass(frozen=True)
class ShapesShortcutDataset(ShapesDataset):
    """Images of `ShapesDataset` with a small square near the border, whose position and color reveal the class.

    The mask covers the square. A moved mark has the position and color of a random other class. An image without a
    mark has no mask.
    """

    mark: str = "shown"

    def scene(self, index: int, target: int) -> Scene:
        scene = super().scene(index, target)
        if self.mark == "removed":
            return scene._replace(truth=None)
        marked = target if self.mark == "shown" else self._another(index, target)
        return scene._replace(figures=[*scene.figures, self._mark(marked)], truth=len(scene.figures))

    def _another(self, index: int, target: int) -> int:
        classes = len(self.class_names)
        return (target + int(self.generator(index, 1).integers(1, classes))) % classes

    def _mark(self, target: int) -> Figure:
        """Return the square of a class. Classes are evenly spaced along the border and along the hues."""
        part = target / len(self.class_names)
        towards = np.array([np.cos(2 * np.pi * part), np.sin(2 * np.pi * part)])
        center = 0.5 + _FROM_CENTER * towards / abs(towards).max()
        return Figure(center + bar(_SIDE, _SIDE), np.rint(255 * np.array(hsv_to_rgb(part, 1, 1))).astype(np.uint8))


class ShapesShortcut(DatasetSource):
    """Shapes with a mark that reveals the class: `shapes-shortcut`, `shapes-shortcut:mark=moved,split=test`.

    Options: the options of `shapes`, and `mark`. `mark` is `shown` (default), `moved` (the position and color of
    another class) or `removed`.
    """

    name = "shapes-shortcut"

    def load(  # type: ignore[override] # the registry rejects other options
        self,
        name: str | None,
        size: int = 64,
        count: int = 2000,
        seed: int = 0,
        split: str = "train",
        mark: str = "shown",
    ) -> ShapesShortcutDataset:
        check(self.name, name, size, count, seed, split)
        check_choice("mark", mark, MARKS)
        return ShapesShortcutDataset(size, count, seed, split, mark=mark)
