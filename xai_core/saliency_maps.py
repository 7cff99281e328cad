"""The result of `Engine.explain`: the maps of each method, which can be drawn together."""

from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from xai_core.drawing import Scores, cells_of, draw, show
from xai_core.saliency import Saliency

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from xai_core.visualization.colors import Style
    from xai_core.visualization.panels import Photos

_SHOWN = 4
"""Largest number of images in a notebook's display."""


class SaliencyMaps(dict[str, Saliency]):
    """The saliency maps of each method, by its name: a dict that can draw its maps.

    If it is pickled or saved with `torch.save`, it is loaded as an `OrderedDict`, which `xai_core.show` draws too.
    """

    def draw(self, image: "Photos" = None, scores: Scores | None = None, **style: "Unpack[Style]") -> "Figure":
        """Draw images in rows and methods in columns, as a figure of matplotlib. See `xai_core.draw`."""
        return draw(image, self, scores, **style)

    def show(self, image: "Photos" = None, scores: Scores | None = None, **style: "Unpack[Style]") -> None:
        """Show the figure of `draw` in a notebook or in a window."""
        show(image, self, scores, **style)

    def save(
        self, path: str | Path, image: "Photos" = None, scores: Scores | None = None, **style: "Unpack[Style]"
    ) -> None:
        """Save the figure of `draw` as png, jpg, webp, pdf or svg."""
        from xai_core.visualization.encoding import save_figure

        save_figure(path, lambda: self.draw(image, scores, **style))

    def _repr_html_(self) -> str | None:
        if any(saliency.view is None for saliency in self.values()) or not self:
            return None
        from xai_core.html import figures

        shown = {name: saliency[:_SHOWN] for name, saliency in self.items()}
        return "".join(
            figures((cell.image, "\n".join(filter(None, (cell.title, cell.caption)))) for cell in row)
            for row in cells_of(None, shown, None, {})
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return OrderedDict, (), None, None, iter(self.items())  # `torch.load` reads it without importing this class
