"""Colors of maps: their scale, their color map, and their opacity on a photo."""

from typing import TypedDict

import matplotlib
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.colors import Colormap

from xai_core.errors import OptionError
from xai_core.spec import suggest

SEQUENTIAL = "inferno"
"""From black over red to yellow. Its lightness increases evenly, so higher saliency is always brighter."""
DIVERGING = "RdBu_r"
"""From blue (against the target) over white (neutral) to red (for the target)."""
OPACITY = 0.85
"""Opacity of the overlay at the highest saliency. At zero saliency the overlay is transparent."""
SATURATION = 0.99
"""Quantile of the map at which the colors saturate, so that a few very salient pixels do not hide all others."""
MIN_SATURATION = 0.05
"""Smallest value at which the colors saturate, so that negligible saliency stays invisible."""
_BLOCK = 1 << 20


class Style(TypedDict, total=False):
    """Options of overlays.

    Attributes
    ----------
    cmap
        Name of a color map of matplotlib. Default: `inferno`, or `RdBu_r` if the relevance has negative values.
    alpha
        Opacity in [0,1] at the highest saliency. Opacity decreases to zero with the saliency. Default: 0.85.
    contours
        Whether to draw contour lines at half of the highest saliency. A sequence of numbers in (0,1) sets the levels.
    """

    cmap: str | None
    alpha: float
    contours: bool | tuple[float, ...] | list[float]


def limit_of(values: Float[np.ndarray, "*size"]) -> float:
    """Return the magnitude at which the colors of a map saturate: its 99th percentile, or 0.05 if that is larger."""
    return max(float(np.quantile(np.abs(values), SATURATION)), MIN_SATURATION)


def colormap(name: str | None, signed: bool) -> Colormap:
    """Return the color map of that name. None selects the default for signed or unsigned maps.

    Raises
    ------
    OptionError
        If matplotlib has no such color map.
    """
    name = name or (DIVERGING if signed else SEQUENTIAL)
    try:
        return matplotlib.colormaps[name]
    except (KeyError, TypeError):
        expected = suggest(str(name), matplotlib.colormaps)
        raise OptionError(f"matplotlib has no color map {name!r}; {expected}") from None


def blend(
    photo: UInt8[np.ndarray, "H W 3"], values: Float[np.ndarray, "H W"], colors: Colormap, alpha: float, signed: bool
) -> UInt8[np.ndarray, "H W 3"]:
    """Color a photo by values in [0,1], or in [-1,1] if they are signed. The opacity is `alpha` times the magnitude.

    Rows are blended in blocks, to bound the memory for large photos.
    """
    blended = np.empty_like(photo)
    step = max(1, _BLOCK // photo.shape[1])
    for top in range(0, len(photo), step):
        rows = slice(top, top + step)
        opacity = alpha * np.abs(values[rows, :, None])
        shades = colors((values[rows] + 1) / 2 if signed else values[rows], bytes=True)[..., :3]
        blended[rows] = np.rint((1 - opacity) * photo[rows] + opacity * shades)
    return blended
