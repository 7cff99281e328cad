"""What methods that integrate along a path from a baseline to the image share."""

import xai_core as xai
from xai_captum.attribution import Differentiated, positive
from xai_core.errors import OptionError

SUMS = ("gausslegendre", "riemann_left", "riemann_middle", "riemann_right", "riemann_trapezoid")
"""How captum sums up an integral."""


class Path(Differentiated):
    """An integral along the straight line from a baseline to the image.

    Parameters
    ----------
    n_steps
        Number of steps.
    method
        The sum that stands for the integral: `gausslegendre`, or `riemann_left`, `_middle`, `_right`, `_trapezoid`.
    baselines
        Where the line begins: `zero`, `mean`, `blur`, `noise`, or a tensor, see `xai_core.baseline_images`.
    channels
        How channels are reduced.
    """

    def __init__(
        self,
        n_steps: int = 50,
        method: str = "gausslegendre",
        baselines: xai.Baseline = "zero",
        channels: str = "positive",
    ) -> None:
        super().__init__(channels)
        positive(n_steps=n_steps)
        if method not in SUMS:
            raise OptionError(f"method must be one of {', '.join(SUMS)}, not {method!r}")
        self.n_steps = n_steps
        self.method = method
        self.baselines = baselines

    def forwards(self, adapter: xai.ModelAdapter) -> int:
        """One for each step, and the pass."""
        return 1 + self.n_steps
