"""Several methods, or layers, in one map."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import fuse
from xai_core.plugin import OptionError, relevance


class Fused(xai.Explainer):
    """Several explainers' maps in one: each normalized to [0,1] and resized to the finest, then their mean or maximum.

    All are made from one pass.

    Parameters
    ----------
    explainers
        Names, specs or objects.
    how
        `mean` or `max`.
    """

    name = "fused"

    def __init__(
        self, explainers: Sequence[str | xai.Explainer] = ("grad-cam", "eigen-cam"), how: str = "mean"
    ) -> None:
        if how not in ("mean", "max"):
            raise OptionError(f"how must be mean or max, not {how!r}")
        if not explainers:
            raise OptionError("fused needs at least one explainer")
        self.explainers = explainers
        self.how = how
        self._explainers = [xai.create_explainer(e) if isinstance(e, str) else e for e in explainers]

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """What each explainer needs."""
        return xai.Needs(parts=tuple(explainer.needs(adapter) for explainer in self._explainers))

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Those of all explainers, less the pass that they share."""
        return 1 + sum(explainer.forward_passes(adapter) - 1 for explainer in self._explainers)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B h w"]:
        """Make each map, and fuse them."""
        pairs = zip(self._explainers, captured.parts, strict=True)
        return fuse([relevance(explainer.explain(part)) for explainer, part in pairs], self.how)
