"""Saliency maps that can be drawn: the methods of `Saliency` that draw, show and save."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from xai_core.visualization.viewed import ViewedMaps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

    from xai_core.visualization.colors import Style
    from xai_core.visualization.panels import Photos

_SHOWN = 8
"""Largest number of maps in a notebook's display."""


class DrawableMaps(ViewedMaps):
    """Base class of maps that can be drawn.

    Every method takes `image`, the photos: one photo for each image, or a single photo for a batch of one. A photo is a
    PIL image, a path, an array [H,W,3] or a tensor [C,H,W], 8-bit or in [0,1]. By default, the images are drawn as the
    model received them. On a photo of another size, the map is placed on the part that the model received. This needs
    an engine that was created with a `LoadedModel`.

    The map of a volume or clip is drawn as a row of up to eight slices or frames, and `animate` saves all of them.
    Photos cannot be passed for volumes.

    Every method takes these options of the overlay:

    - `cmap`: name of a color map of matplotlib. Default: `inferno`, or `RdBu_r` if the raw maps have negative values.
    - `alpha`: opacity in [0,1] at the highest saliency, by default 0.85. It decreases to zero with the saliency.
    - `contours`: True for a contour line at half of the highest saliency, or the levels in (0,1).
    """

    def overlay(self, image: "Photos" = None, **style: "Unpack[Style]") -> "Image":
        """Return the photos colored by the maps as an RGB image of Pillow. Several photos are side by side, in RGBA.

        The colors saturate at the 99th percentile of each map.

        Raises
        ------
        UnsuitableError
            If no photo is passed and the images are not known, because the maps were saved. The error is also raised if
            the part of the photo that the model received is not known.
        InputShapeError
            If there is not one photo for each image.
        OptionError
            If an option of the overlay is invalid.
        """
        from xai_core.visualization.overlays import side_by_side
        from xai_core.visualization.panels import panels_of

        overlays = [panel.overlay(**style) for panel in panels_of(self, image)]
        return overlays[0] if len(overlays) == 1 else side_by_side(overlays)

    def plot(self, ax: "Axes | None" = None, image: "Photos" = None, **style: "Unpack[Style]") -> "Axes":
        """Draw the overlay of one map with a color bar into axes of matplotlib. Default: the axes of a new figure.

        Raises
        ------
        InputShapeError
            If there are several maps. Select one with `saliency[i]`.
        """
        from xai_core.visualization.plots import plot_map

        return plot_map(self, ax, image, style)

    def show(self, image: "Photos" = None, **style: "Unpack[Style]") -> None:
        """Show the overlays with captions in a notebook or in a window."""
        from xai_core.visualization.figures import show_figure

        show_figure(lambda new: self._figure(image, style, new))

    def save(self, path: str | Path, image: "Photos" = None, **style: "Unpack[Style]") -> None:
        """Save the overlays as png, jpg or webp at the size of the photos, or with captions as pdf or svg.

        Raises
        ------
        OptionError
            If the extension is another one.
        FileError
            If the file cannot be written.
        """
        from xai_core.visualization.encoding import save_image

        save_image(path, lambda: self.overlay(image, **style), lambda: self._figure(image, style))

    def animate(self, path: str | Path, seconds: float = 2.0, **style: "Unpack[Style]") -> None:
        """Save the slices or frames of volumes, colored by the maps, as an animation: gif or webp.

        Parameters
        ----------
        path
            The file. Several volumes are side by side.
        seconds
            Duration of the animation, which repeats.
        **style
            The options of the overlay.

        Raises
        ------
        UnsuitableError
            If the maps explain images, or the volumes are not known.
        OptionError
            If the extension is another one, or an option is invalid.
        FileError
            If the file cannot be written.
        """
        from xai_core.visualization.panels import animation_frames
        from xai_core.visualization.slices import save_animation

        save_animation(path, animation_frames(self, style), seconds)

    def _figure(self, image: "Photos", style: "Style", new: "Callable[..., Figure] | None" = None) -> "Figure":
        from xai_core.visualization.figures import Cell, DisplayedFigure, grid_figure
        from xai_core.visualization.panels import panels_of

        cells = [Cell(panel.overlay(**style), caption=panel.caption) for panel in panels_of(self, image)]
        return grid_figure([cells], new or DisplayedFigure)

    def _repr_html_(self) -> str | None:
        if self.view is None:
            return None
        from xai_core.html import figures
        from xai_core.visualization.panels import panels_of

        return figures((panel.overlay(), panel.caption) for panel in panels_of(self[:_SHOWN], None))
