"""Content of a page of maps: sections of photos, each with an image for each map."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from xai_core.report.mean_scores import MeanScores
from xai_core.report.results import MethodResult


@dataclass(frozen=True)
class PageImage:
    """An image of a page.

    Attributes
    ----------
    source
        The image, as a data URI or as a path relative to the page.
    file
        Path of the file in full size, relative to the page.
    width, height
        Size of `source` in pixels.
    """

    source: str
    file: str
    width: int
    height: int


@dataclass(frozen=True)
class PageMap(MethodResult):
    """The map of a method for a photo.

    Attributes
    ----------
    image
        The overlay.
    captions
        Lines below the name of the method.
    scores
        Values of the metrics, by which maps can be sorted.
    parts
        Overlays of the parts of the map in a row, or None.
    part_count
        The number of parts.
    """

    image: PageImage
    captions: Sequence[str] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    parts: PageImage | None = None
    part_count: int = 0


@dataclass(frozen=True)
class PagePhoto:
    """A photo with its maps.

    Attributes
    ----------
    title
        Name of the photo.
    image
        The photo without a map, of the same size as the maps.
    classes
        The explained class and other classes, each with a label: `explained`, `predicted` or `ground truth`.
    maps
        The maps.
    ground_truth
        The photo with its ground-truth mask, or None.
    files
        Further files, relative to the page, by name.
    """

    title: str
    image: PageImage
    classes: Mapping[str, str]
    maps: Sequence[PageMap]
    ground_truth: PageImage | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    def of_group(self, group: str) -> list[PageMap]:
        """Return the maps of the methods of a group."""
        return [each for each in self.maps if each.group == group]


@dataclass(frozen=True)
class PageSection:
    """Photos that one model explains.

    Attributes
    ----------
    title
        Heading.
    photos
        The photos.
    metrics
        Whether higher values are better, by metric.
    rows
        Rows of the table of scores.
    skipped
        The reason for each skipped method, or for several methods that are separated by commas.
    """

    title: str
    photos: Sequence[PagePhoto]
    metrics: Mapping[str, bool] = field(default_factory=dict)
    rows: Sequence[MeanScores] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
