"""Combination of several methods in one map."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import COMBINATIONS, fuse
from xai_core.plugin import OptionError, check_choice, relevance


class Fused(xai.Explainer):
    """The mean, maximum or product of the maps of several methods.

    The maps are normalized to [0,1] and resized to the highest resolution among them. All are computed from the shared
    pass. The product of a CAM's maps at several layers is RefineCAM. It keeps the locations that all layers highlight.

    Parameters
    ----------
    explainers
        Names, specs or objects of explainers.
    how
        `mean`, `max` or `product`.
    """

    name = "fused"

    def __init__(
        self, explainers: Sequence[str | xai.Explainer] = ("grad-cam", "eigen-cam"), how: str = "mean"
    ) -> None:
        if not explainers:
            raise OptionError("explainers must contain at least one explainer, got none")
        self.explainers = explainers
        self.how = check_choice("how", how, tuple(COMBINATIONS))
        self._explainers = [xai.create_explainer(e) if isinstance(e, str) else e for e in explainers]
        self.volumes = all(explainer.volumes for explainer in self._explainers)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request what each explainer needs."""
        return xai.Needs(parts=tuple(explainer.needs(adapter) for explainer in self._explainers))

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Add the forward passes of all explainers, and count the shared pass once."""
        return 1 + sum(explainer.forward_passes(adapter) - 1 for explainer in self._explainers)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B *grid"]:
        """Compute each map and combine the maps."""
        pairs = zip(self._explainers, captured.parts, strict=True)
        return fuse([relevance(explainer.explain(part)) for explainer, part in pairs], self.how)
