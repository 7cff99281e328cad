"""Sections of the page of `xai demo`."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from xai_core import files
from xai_core.report.mean_scores import mean_scores
from xai_core.report.page import embedded
from xai_core.report.page_content import PageMap, PagePhoto, PageSection
from xai_core.report.results import Explanation, ImageResult, ModelResults
from xai_core.visualization.overlays import side_by_side

CAPTIONS = {"insertion": "insertion", "relevance-mass": "in mask"}
"""The metrics whose values are below each map, and their labels."""


def page_photo(result: ImageResult, folder: str) -> PagePhoto:
    """Return an image with its maps for the page.

    Parameters
    ----------
    result
        The image with its explanations.
    folder
        Folder of the files of the image, relative to the page.
    """
    base = str(PurePosixPath(folder, result.file))
    names = files.distinct(explanation.method for explanation in result.explanations)
    classes = {}
    if result.predicted is not None:
        classes["explained" if result.predicted.id is None else "predicted"] = str(result.predicted)
    if result.label is not None:
        classes["ground truth"] = result.label
    return PagePhoto(
        title=result.id,
        image=embedded(result.photo, f"{base}.photo.png"),
        classes=classes,
        maps=[
            PageMap(
                method=each.method,
                group=each.group,
                image=embedded(each.overlay, f"{base}.{name}.png"),
                captions=_captions(each),
                scores={metric: round(score.value, 4) for metric, score in each.scores.items()},
                parts=embedded(side_by_side(each.parts), f"{base}.{name}.parts.png") if each.parts else None,
                part_count=len(each.parts),
            )
            for each, name in zip(result.explanations, names, strict=True)
        ],
        ground_truth=None if result.ground_truth is None else embedded(result.ground_truth, f"{base}.ground-truth.png"),
        files={"perturbation curves": f"{base}.curves.png"} if result.scored else {},
    )


def _captions(explanation: Explanation) -> list[str]:
    scores = [
        f"{label} {explanation.scores[metric].value:.2f}"
        for metric, label in CAPTIONS.items()
        if metric in explanation.scores
    ]
    return ["constant map"] * explanation.constant + scores


def page_section(results: ModelResults, photos: Sequence[PagePhoto]) -> PageSection:
    """Return the section of a model, with its photos and the mean scores."""
    means = mean_scores(results.images)
    return PageSection(
        title=results.title,
        photos=photos,
        metrics={metric: score.higher_is_better for mean in means for metric, score in mean.scores.items()},
        rows=means,
        skipped=results.skipped_by_reason,
    )
