"""One page that shows it all: a single HTML file, its pictures within it, that asks nothing of a network."""

import base64
from collections.abc import Callable, Mapping, Sequence

import jinja2

from xai_core.report.pictures import png, strip
from xai_core.report.ranking import best, means
from xai_core.report.results import Exhibit, Result


def render(title: str, exhibits: Sequence[Exhibit], about: Mapping[str, str], plot: Callable[[Result], bytes]) -> str:
    """Make the page.

    Parameters
    ----------
    exhibits
        At least one.
    about
        What the results depend on, by name: versions, device, command, date.
    plot
        Draws the curves of a result as a PNG.
    """
    loader = jinja2.PackageLoader("xai_core.report", ".")
    page = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    page.filters["uri"] = lambda data: "data:image/png;base64," + base64.b64encode(data).decode()
    template = page.get_template("page.html.j2")
    return template.render(
        title=title,
        exhibits=exhibits,
        about=about,
        means=means,
        best=best,
        plot=plot,
        png=png,
        strip=strip,
    )
