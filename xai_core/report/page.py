"""The report of `xai demo`: one HTML file that contains its images and needs no network."""

import base64
from collections.abc import Callable, Mapping, Sequence

import jinja2

from xai_core.report.ranking import best_methods, mean_scores
from xai_core.report.results import ImageResult, ModelResults
from xai_core.visualization.encoding import png
from xai_core.visualization.overlays import side_by_side


def render(
    title: str, results: Sequence[ModelResults], about: Mapping[str, str], plot: Callable[[ImageResult], bytes]
) -> str:
    """Return the HTML of the report.

    Parameters
    ----------
    title
        Heading of the page.
    results
        Results of each model, at least one.
    about
        Everything that the results depend on, by name: versions, device, command, date.
    plot
        Function that draws the perturbation curves of an image as a PNG.
    """
    loader = jinja2.PackageLoader("xai_core.report", ".")
    page = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    page.filters["uri"] = lambda data: "data:image/png;base64," + base64.b64encode(data).decode()
    return page.get_template("page.html.j2").render(
        title=title,
        results=results,
        about=about,
        mean_scores=mean_scores,
        best_methods=best_methods,
        plot=plot,
        png=png,
        side_by_side=side_by_side,
    )
