"""Feature ablation."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import Part, Scored
from xai_captum.patches import Patches


class FeatureAblation(Patches):
    """Feature ablation: how much the score falls when a patch shows its baseline, y(x) - y(x without patch).

    Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, section 4.2. Options:
    see `Patches`.
    """

    name = "feature-ablation"

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """One for each patch, one for the image, and the pass."""
        return 2 + self.count(adapter)

    def attribute(self, model: Scored, part: Part, adapter: xai.ModelAdapter) -> Float[Tensor, "1 1 H W"]:
        """Take one patch away after the other."""
        from captum import attr

        return self.ablated(attr.FeatureAblation, model, part)
