"""Plots of single results in axes of matplotlib."""

from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from torch import Tensor

from xai_core.errors import InputShapeError
from xai_core.visualization.colors import Style, colormap, limit_of
from xai_core.visualization.figures import Cell, draw_cell
from xai_core.visualization.panels import Photos, panels_of
from xai_core.visualization.viewed import ViewedMaps


def new_axes() -> Axes:
    """Return the axes of a new figure of pyplot."""
    import matplotlib.pyplot as plt

    return plt.figure(layout="constrained").subplots()


def plot_map(maps: ViewedMaps, ax: Axes | None, photo: Photos, style: Style) -> Axes:
    """Draw the overlay of one map with a color bar. See `DrawableMaps.plot`."""
    panels = panels_of(maps, photo)
    if len(panels) > 1:
        raise InputShapeError(
            f"expected one map, got {len(panels)}: select an image with `saliency[i]` and a target with "
            "`saliency.each[t]`, or use `show`"
        )
    [panel] = panels
    ax = new_axes() if ax is None else ax
    draw_cell(ax, Cell(panel.overlay(**style), caption=panel.caption))
    limit = limit_of(panel.values.float().cpu().numpy())
    scale = Normalize(-limit if panel.signed else 0, limit)
    label = "relevance / largest relevance" if panel.signed else "saliency"
    bar = ax.figure.colorbar(ScalarMappable(scale, colormap(style.get("cmap"), panel.signed)), ax=ax, shrink=0.8)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=8)
    return ax


def plot_values(values: Float[Tensor, "B *T"], ax: Axes | None, label: str) -> Axes:
    """Draw the score of each image as a point."""
    ax = new_axes() if ax is None else ax
    ax.plot(range(values.numel()), values.flatten().float().cpu(), "o", label=label or None)
    ax.set(xlabel="image", ylabel="score")
    return ax


def plot_curves(
    fractions: Float[Tensor, " S"], curves: Float[Tensor, "B *T S"], ax: Axes | None, label: str, direction: str
) -> Axes:
    """Draw a thin line for each perturbation curve, and a thick one with a label for their mean."""
    ax = new_axes() if ax is None else ax
    x, lines = fractions.float().cpu(), curves.flatten(0, -2).float().cpu()
    [mean] = ax.plot(x, lines.mean(0), linewidth=2, label=label)
    if len(lines) > 1:
        ax.plot(x, lines.T, linewidth=0.7, alpha=0.4, color=mean.get_color(), zorder=1)
    ax.set(xlabel="fraction of pixels replaced", ylabel="score of the model", xlim=(0, 1))
    ax.grid(alpha=0.2)
    ax.legend(fontsize=9, edgecolor="none", title=direction, title_fontsize=9)
    return ax
