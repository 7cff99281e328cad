"""Base class of attribution methods that integrate along a path from a baseline to the image."""

import xai_core as xai
from xai_captum.attribution import GradientAttribution
from xai_core.plugin import Baseline, OptionError, check_choice, check_integer

QUADRATURES = ("gausslegendre", "riemann_left", "riemann_middle", "riemann_right", "riemann_trapezoid")
"""captum's approximations of an integral."""


class PathAttribution(GradientAttribution):
    """An integral along the straight line from a baseline to the image.

    Parameters
    ----------
    n_steps
        Number of steps. At least 2, except for `gausslegendre`.
    method
        Approximation of the integral: `gausslegendre`, `riemann_left`, `riemann_middle`, `riemann_right` or
        `riemann_trapezoid`.
    baselines
        Start of the line: `zero`, `mean`, `blur`, `min`, `max`, `noise`, or a tensor. See
        `xai_core.plugin.baseline_images`.
    channels
        How the channels are reduced: `sum`, `positive`, `abs`, `max` or `norm`. See
        `xai_core.plugin.reduce_channels`.
    """

    def __init__(
        self,
        n_steps: int = 50,
        method: str = "gausslegendre",
        baselines: Baseline = "zero",
        channels: str = "positive",
    ) -> None:
        super().__init__(channels)
        self.n_steps = check_integer("n_steps", n_steps, 1)
        self.method = check_choice("method", method, QUADRATURES)
        self.baselines = baselines
        if n_steps == 1 and method != "gausslegendre":
            raise OptionError(f"n_steps must be at least 2 for {method}, got 1")

    @property
    def correction(self) -> float:
        """Factor that brings the sum of captum's weights to 1.

        With n points, the trapezoidal rule has n - 1 intervals, but captum divides by n.
        """
        return self.n_steps / (self.n_steps - 1) if self.method == "riemann_trapezoid" else 1

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count one for each step and one for the shared pass."""
        return 1 + self.n_steps
