"""Guided backpropagation."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import Part
from xai_captum.relu import ChangedReLU
from xai_core.plugin import SharedModel


class GuidedBackprop(ChangedReLU):
    """Guided backpropagation: through ReLU goes only what is positive of the gradient, where the ReLU was active.

    Source: Springenberg et al., "Striving for Simplicity: The All Convolutional Net", ICLR workshop 2015. Options: see
    `ChangedReLU`.
    """

    name = "guided-backprop"

    def attribute(self, model: SharedModel, part: Part, adapter: xai.ModelAdapter) -> Float[Tensor, "N C H W"]:
        """Go back from the score to the image."""
        from captum import attr

        return self.changed(attr.GuidedBackprop(model), part)
