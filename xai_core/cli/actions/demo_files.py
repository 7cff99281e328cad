"""Files of `xai demo`, which are written after each image: overlays, curves, a table of scores, and the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from xai_core import files
from xai_core.report.csv_rows import csv_rows, write_csv
from xai_core.report.curves import plot_curves
from xai_core.report.demo_sections import page_photo, page_section
from xai_core.report.page import LEAD, render
from xai_core.report.page_content import PagePhoto
from xai_core.report.results import ImageResult, ModelResults
from xai_core.visualization import overlays
from xai_core.visualization.encoding import png

CAUTION = "A few images do not show which method is better."
SCORES = {
    "Deletion": "Area under the probability curve while pixels are removed, most salient first. Lower is better.",
    "Insertion": "Area under the probability curve while pixels are inserted, most salient first. Higher is better.",
    "Relevance mass": "Fraction of the map inside the ground-truth mask (“in mask” in the captions). Higher is better.",
    "Pointing game": "1 if the maximum of the map is inside the ground-truth mask, otherwise 0. Higher is better.",
}


@dataclass
class DemoFiles:
    """Writes results as they are computed.

    Attributes
    ----------
    folder
        The output folder. Images of each model are in a subfolder if there are several models.
    about
        Everything that the results depend on, by name.
    results
        The results of each model. Their images and skipped methods grow.
    subfolders
        The subfolder of each model, or an empty name.
    """

    folder: Path
    about: Mapping[str, str]
    results: Sequence[ModelResults]
    subfolders: Sequence[str]
    _photos: dict[str, list[PagePhoto]] = field(default_factory=dict)

    @classmethod
    def create(cls, folder: Path, about: Mapping[str, str], results: Sequence[ModelResults]) -> "DemoFiles":
        """Create the folders."""
        several = len(results) > 1
        subfolders = files.distinct(of_model.model for of_model in results) if several else [""]
        for subfolder in subfolders:
            files.make_folder(folder / subfolder)
        return cls(folder, about, results, subfolders)

    def write(self, index: int, image: ImageResult) -> None:
        """Write the files of an image of a model, the table and the page."""
        subfolder = self.folder / self.subfolders[index]
        methods = files.distinct(explanation.method for explanation in image.explanations)
        for explanation, method in zip(image.explanations, methods, strict=True):
            file = f"{image.file}.{method}"
            files.write_file(subfolder / f"{file}.png", png(explanation.overlay))
            if explanation.parts:
                files.write_file(subfolder / f"{file}.parts.png", png(overlays.side_by_side(explanation.parts)))
        files.write_file(subfolder / f"{image.file}.photo.png", png(image.photo))
        if image.ground_truth is not None:
            files.write_file(subfolder / f"{image.file}.ground-truth.png", png(image.ground_truth))
        if image.scored:
            files.write_file(subfolder / f"{image.file}.curves.png", plot_curves(image))
        self._photos.setdefault(self.subfolders[index], []).append(page_photo(image, self.subfolders[index]))
        write_csv(self.folder / "results.csv", (row for of_model in self.results for row in csv_rows(of_model)))
        files.write_file(self.folder / "index.html", self._page())

    def _page(self) -> str:
        sections = [
            page_section(of_model, self._photos[subfolder])
            for of_model, subfolder in zip(self.results, self.subfolders, strict=True)
            if of_model.images
        ]
        title = sections[0].title if len(self.results) == 1 else "Saliency maps of several models"
        return render(title, f"{LEAD} {CAUTION}", sections, {**SCORES, **self.about})
