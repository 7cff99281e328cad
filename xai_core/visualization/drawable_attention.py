"""Attention that can be drawn: the methods of `AttentionRecord` that draw and show."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from xai_core.visualization.viewed import Viewed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from xai_core.visualization.attention_plot import Layer
    from xai_core.visualization.colors import Style
    from xai_core.visualization.photos import Photo


class DrawableAttention(Viewed):
    """Base class of attention that can be drawn."""

    if TYPE_CHECKING:

        @property
        def layers(self) -> Sequence[Layer]: ...

    def plot(
        self, layer: int | str = -1, query: int | None = None, image: "Photo | None" = None, **style: "Unpack[Style]"
    ) -> "Figure":
        """Draw the attention of one query token of one image, with a numbered panel for each head.

        A square marks the query token, if it has a location in the image. The color scale of each head ends at its
        highest attention. `figure.savefig("heads.png")` saves the figure.

        Parameters
        ----------
        layer
            The index or the name of a layer. Default: the last layer.
        query
            The index of the query token. Default: the first recorded one, which is often the class token.
        image
            The photo. Default: the image that the model received.
        **style
            `cmap`, `alpha` and `contours`. See `Saliency.overlay`.

        Raises
        ------
        InputShapeError
            If the record contains several images. Select one with `record[i]`.
        LayerError
            If there is no such layer.
        RowError
            If the row of the query token was not recorded.
        UnsuitableError
            If the keys of the layer do not form a grid over the image, or the image is not known.
        """
        from xai_core.visualization.attention_plot import attention_figure

        return attention_figure(self, layer, query, image, style)

    def show(
        self, layer: int | str = -1, query: int | None = None, image: "Photo | None" = None, **style: "Unpack[Style]"
    ) -> None:
        """Show the figure of `plot` in a notebook or in a window."""
        from xai_core.visualization.attention_plot import attention_figure
        from xai_core.visualization.figures import show_figure

        show_figure(lambda new: attention_figure(self, layer, query, image, style, new))

    def _repr_html_(self) -> str | None:
        from xai_core.html import table

        rows = (
            (layer.name, layer.weights.shape[1], list(layer.grid) if layer.grid else "none") for layer in self.layers
        )
        return table(("layer", "heads", "grid"), rows)
