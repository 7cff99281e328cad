"""What methods that integrate along a path from a baseline to the image share."""

import xai_core as xai
from xai_captum.attribution import Differentiated
from xai_captum.options import positive
from xai_core.plugin import Baseline, OptionError

SUMS = ("gausslegendre", "riemann_left", "riemann_middle", "riemann_right", "riemann_trapezoid")
"""How captum sums up an integral."""


class Path(Differentiated):
    """An integral along the straight line from a baseline to the image.

    Parameters
    ----------
    n_steps
        Number of steps; at least 2 but for `gausslegendre`.
    method
        The sum that stands for the integral: `gausslegendre`, or `riemann_left`, `_middle`, `_right`, `_trapezoid`.
    baselines
        Where the line begins: `zero`, `mean`, `blur`, `noise`, or a tensor, see `xai_core.plugin.baseline_images`.
    channels
        How channels are reduced.
    """

    def __init__(
        self,
        n_steps: int = 50,
        method: str = "gausslegendre",
        baselines: Baseline = "zero",
        channels: str = "positive",
    ) -> None:
        super().__init__(channels)
        positive(n_steps=n_steps)
        if method not in SUMS:
            raise OptionError(f"method must be one of {', '.join(SUMS)}, not {method!r}")
        if n_steps == 1 and method != "gausslegendre":
            raise OptionError(f"n_steps must be at least 2 for {method}, got 1")
        self.n_steps = n_steps
        self.method = method
        self.baselines = baselines

    @property
    def whole(self) -> float:
        """What brings the sum of captum's weights to 1: between n places are n - 1 trapezoids, and it divides by n."""
        return self.n_steps / (self.n_steps - 1) if self.method == "riemann_trapezoid" else 1

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """One for each step, and the pass."""
        return 1 + self.n_steps
