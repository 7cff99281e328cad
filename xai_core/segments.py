"""Lists of the classes in a segmentation, as the engine returns them to users."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from xai_core.data.class_names import class_name, require_names_of
from xai_core.errors import TargetError
from xai_core.targets.pixel_scores import PixelReader

BACKGROUND = "background"


@dataclass(frozen=True)
class Segment:
    """The pixels that a segmentation model assigns to a class.

    Attributes
    ----------
    label
        The class id.
    name
        The class name, or `class N` if the names are not known.
    share
        The fraction of the output's pixels, in (0,1].
    """

    label: int
    name: str
    share: float

    @property
    def is_background(self) -> bool:
        """Return whether the class is named `background` or `__background__`, in any case."""
        return self.name.strip("_").lower() == BACKGROUND

    def __str__(self) -> str:
        return f"{self.name} {100 * self.share:.1f}% of pixels"


def segments_of(
    pixels: PixelReader, scores: Float[Tensor, "B K *size"], names: Sequence[str] | None
) -> list[list[Segment]]:
    """Return the classes that have pixels in each image, the most pixels first.

    Raises
    ------
    OptionError
        If there is not one name per class.
    """
    require_names_of(scores.shape[1], names)
    lists = []
    for each in scores.split(1):
        labels = each.argmax(1).unique()
        shares = [float(pixels.predicted(each, label[None]).float().mean()) for label in labels]
        rows = [row for row in zip(labels.tolist(), shares, strict=True) if row[1] > 0]
        rows.sort(key=lambda row: -row[1])
        lists.append([Segment(label, class_name(label, names), share) for label, share in rows])
    return lists


def largest(found: Sequence[Segment], top: int, names: Sequence[str] | None) -> list[Segment]:
    """Return the classes with the most pixels in an image, without the background.

    Raises
    ------
    TargetError
        If the class names are not known, so that the background is not known either.
    """
    if names is None:
        raise TargetError(
            "the classes of this segmentation model have no names, so it is not known which class is the background; "
            "choose the class to explain, such as `--target 0` of `xai explain` or `target=Region(0)`"
        )
    return [segment for segment in found if not segment.is_background][:top]
