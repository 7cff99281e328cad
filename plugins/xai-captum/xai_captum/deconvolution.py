"""Deconvolution."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import ImageBlock
from xai_captum.modified_relu import ModifiedReLU
from xai_core.plugin import SharedModel


class Deconvolution(ModifiedReLU):
    """Deconvolution: the gradient at the image, in which ReLU passes the positive part of the gradient.

    It makes no difference whether the ReLU was active in the forward pass. For the options, see `ModifiedReLU`.

    Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014.
    """

    name = "deconvolution"

    def attribute(self, model: SharedModel, block: ImageBlock, adapter: xai.ModelAdapter) -> Float[Tensor, "N C *size"]:
        """Compute the modified gradient at the images."""
        from captum import attr

        return self.modified_gradient(attr.Deconvolution(model), block)
