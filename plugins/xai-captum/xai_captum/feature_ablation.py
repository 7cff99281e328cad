"""Feature ablation."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import CaptumScorer, ImageBlock
from xai_captum.patches import PatchAttribution


class FeatureAblation(PatchAttribution):
    """Feature ablation: the drop in the score when a patch shows its baseline, y(x) - y(x without patch).

    For the options, see `PatchAttribution`.

    Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, section 4.2.
    """

    name = "feature-ablation"

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count one for each patch, one for the image, and one for the shared pass."""
        return 2 + self.count(adapter)

    def attribute(
        self, model: CaptumScorer, block: ImageBlock, adapter: xai.ModelAdapter
    ) -> Float[Tensor, "1 1 *size"]:
        """Mask one patch after another."""
        from captum import attr

        return self.ablated(attr.FeatureAblation, model, block)
