"""Guided backpropagation."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import ImageBlock
from xai_captum.modified_relu import ModifiedReLU
from xai_core.plugin import SharedModel


class GuidedBackprop(ModifiedReLU):
    """Guided backpropagation: the gradient at the image, in which an active ReLU passes the positive part only.

    For the options, see `ModifiedReLU`.

    Source: Springenberg et al., "Striving for Simplicity: The All Convolutional Net", ICLR workshop 2015.
    """

    name = "guided-backprop"

    def attribute(self, model: SharedModel, block: ImageBlock, adapter: xai.ModelAdapter) -> Float[Tensor, "N C *size"]:
        """Compute the modified gradient at the images."""
        from captum import attr

        return self.modified_gradient(attr.GuidedBackprop(model), block)
