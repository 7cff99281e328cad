"""Results of metrics that can be drawn: the methods of `MetricResult` that plot them."""

from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from xai_core.batched import Batched

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class DrawableResult(Batched):
    """Base class of results that can be drawn. See `MetricResult` for the attributes."""

    values: Float[Tensor, "B *T"]
    curve: Float[Tensor, "B *T S"] | None
    fractions: Float[Tensor, " S"] | None
    higher_is_better: bool | None

    def plot(self, ax: "Axes | None" = None, label: str = "") -> "Axes":
        """Draw the curve of each image and their mean into axes of matplotlib. Default: the axes of a new figure.

        If the metric has no curve, the value of each image is drawn as a point. Several results can be drawn into the
        same axes, each with a `label` for `ax.legend()`.
        """
        from xai_core.visualization.plots import plot_curves, plot_values

        if self.curve is None or self.fractions is None:
            return plot_values(self.values, ax, label)
        return plot_curves(self.fractions, self.curve, ax, f"{label or 'mean'}: {self._mean()}", self._direction())

    def _mean(self) -> str:
        return f"{float(self.values.float().mean()):.3f}"

    def _direction(self) -> str:
        return {True: "higher is better", False: "lower is better", None: ""}[self.higher_is_better]

    def _repr_html_(self) -> str:
        from xai_core.html import table

        values = [f"{value:.4f}" for value in self.values.flatten().tolist()]
        better = f" ({self._direction()})" if self._direction() else ""
        return table(["mean", *map(str, range(len(values)))], [[self._mean() + better, *values]])
