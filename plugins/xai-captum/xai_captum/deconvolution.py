"""Deconvolution."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import Part
from xai_captum.relu import ChangedReLU
from xai_core.plugin import SharedModel


class Deconvolution(ChangedReLU):
    """Deconvolution: through ReLU goes only what is positive of the gradient, whether or not the ReLU was active.

    Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014. Options: see
    `ChangedReLU`.
    """

    name = "deconvolution"

    def attribute(self, model: SharedModel, part: Part, adapter: xai.ModelAdapter) -> Float[Tensor, "N C H W"]:
        """Go back from the score to the image."""
        from captum import attr

        return self.changed(attr.Deconvolution(model), part)
