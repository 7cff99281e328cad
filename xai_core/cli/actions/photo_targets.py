"""Targets that the options of `xai explain` select for each photo."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from xai_core.data.class_names import class_name, find_class
from xai_core.errors import TargetError
from xai_core.predictions import Predictions
from xai_core.targets.box import Box
from xai_core.targets.contrast import Contrast
from xai_core.targets.target import TargetLike

Sides = tuple[float, ...]
"""Left, top, right and bottom in pixels of the photo."""


class NotInPhotoError(TargetError):
    """A photo contains nothing that the options select. Other photos may contain it."""


class PhotoTarget(NamedTuple):
    """A target of one photo.

    Attributes
    ----------
    value
        The target for `Engine.explain`.
    name
        Its name in tables and file names.
    class_id
        The id of the class, or None for a contrast or a text.
    probability
        The probability of a detection, or None for other targets.
    box
        The sides of a detection. None if they are not known, or for other targets.
    share
        The fraction of pixels of a region, or None for other targets.
    logit
        The logit of a text, or None for other targets.
    """

    value: TargetLike
    name: str
    class_id: int | None
    probability: float | None = None
    box: Sides | None = None
    share: float | None = None
    logit: float | None = None


class PhotoBox(NamedTuple):
    """A box of the command line.

    Attributes
    ----------
    sides
        The sides in pixels of the photo.
    label
        The class id, or None for the class of the detection.
    """

    sides: Sides
    label: int | None

    @classmethod
    def parse(cls, text: str, names: Sequence[str] | None) -> "PhotoBox":
        """Return the box of `left,top,right,bottom`, which a comma and a class may follow.

        Raises
        ------
        TargetError
            If the sides are not four finite numbers in this order, or there is no such class.
        """
        sides = text.split(",", 4)
        label = sides.pop().strip() if len(sides) > 4 else None
        try:
            box = tuple(map(float, sides))
        except ValueError:
            box = ()
        if len(box) != 4:
            raise TargetError(
                "a box is left, top, right and bottom in pixels of the photo, optionally with a class, such as "
                f"40,20,200,180,dog; got {text!r}"
            )
        Box(box)
        return cls(box, None if label is None else class_id(label, names))

    def __str__(self) -> str:
        return ",".join(f"{side:g}" for side in self.sides)


@dataclass(frozen=True)
class PhotoTargets:
    """The targets of every photo.

    Attributes
    ----------
    ids
        Ids of the classes to explain.
    contrasts
        Pairs of class ids. The score of the first class minus the score of the second is explained.
    boxes
        Boxes of objects to explain, for a detector.
    texts
        Texts to explain, for a model that compares images with texts.
    top
        The number of predicted classes, detections or regions to explain, or 0 for only the other selected targets.
    class_names
        The names of all classes, or None if they are not known.
    """

    ids: Sequence[int]
    contrasts: Sequence[tuple[int, int]]
    boxes: Sequence[PhotoBox]
    texts: Sequence[str]
    top: int
    class_names: Sequence[str] | None

    @classmethod
    def parse(
        cls,
        classes: Sequence[str],
        contrasts: Sequence[Sequence[str]],
        boxes: Sequence[str],
        texts: Sequence[str],
        top: int | None,
        names: Sequence[str] | None,
    ) -> "PhotoTargets":
        """Return the targets of the command line.

        Parameters
        ----------
        classes
            Names or ids of classes.
        contrasts
            Pairs of names or ids.
        boxes
            Boxes, as `PhotoBox.parse` expects them.
        texts
            Texts.
        top
            The number of predicted classes, detections or regions. Default: 1 if nothing else is selected, otherwise 0.
        names
            The names of all classes, or None if they are not known.

        Raises
        ------
        TargetError
            If no class has a name, several classes have it, a contrast is not a pair of classes, or a box is not valid.
        """
        ids = [class_id(text, names) for text in classes]
        pairs = [_pair(contrast, names) for contrast in contrasts]
        of_objects = [PhotoBox.parse(box, names) for box in boxes]
        if top is None:
            top = 0 if ids or pairs or of_objects or texts else 1
        return cls(ids, pairs, of_objects, texts, top, names)

    @property
    def only_predicted(self) -> bool:
        """Return whether the predicted class is the only target. The engine finds it without an earlier prediction."""
        return self.top == 1 and not self.ids and not self.contrasts

    def of(self, predictions: Predictions) -> list[PhotoTarget]:
        """Return the targets of a photo with these predictions, each once."""
        ids = dict.fromkeys([*predictions.ids[0, : self.top].tolist(), *self.ids])
        classes = [PhotoTarget(number, class_name(number, self.class_names), number) for number in ids]
        pairs = dict.fromkeys(self.contrasts)
        return classes + [PhotoTarget(Contrast(a, b), self._contrast_name(a, b), None) for a, b in pairs]

    def _contrast_name(self, a: int, b: int) -> str:
        return f"{class_name(a, self.class_names)} not {class_name(b, self.class_names)}"


def together(targets: Sequence[PhotoTarget]) -> list[tuple[TargetLike, list[PhotoTarget]]]:
    """Return groups of targets that one pass can explain, each with its target for `Engine.explain`."""
    classes = [target for target in targets if isinstance(target.value, int)]
    ids = torch.tensor([[target.class_id for target in classes]])
    groups: list[tuple[TargetLike, list[PhotoTarget]]] = [(ids, classes)] if classes else []
    return groups + [(target.value, [target]) for target in targets if not isinstance(target.value, int)]


def class_id(text: str, names: Sequence[str] | None) -> int:
    """Return the id of a class that is given by its id or its name, in any case.

    Raises
    ------
    TargetError
        If no class has that name, or if several classes have it.
    """
    try:
        return int(text)
    except ValueError:
        if names is not None:
            return find_class(text, names)
        raise TargetError(
            f"this model has no class names: pass a class id instead of {text!r}, such as --target 0; for a detector, "
            "pass --box or --top"
        ) from None


def _pair(contrast: Sequence[str], names: Sequence[str] | None) -> tuple[int, int]:
    if len(contrast) != 2:
        raise TargetError(f"a contrast is two classes, separated by a comma; got {','.join(contrast)!r}")
    a, b = (class_id(text.strip(), names) for text in contrast)
    if a == b:
        raise TargetError(f"a contrast is two different classes; got {','.join(contrast)!r}")
    return a, b
