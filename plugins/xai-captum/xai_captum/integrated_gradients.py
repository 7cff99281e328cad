"""Integrated gradients."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import ImageBlock
from xai_captum.path import PathAttribution
from xai_core.plugin import SharedModel


class IntegratedGradients(PathAttribution):
    """Integrated gradients: the gradient, integrated from a baseline to the image, times their difference.

        (x - x') * int_0^1 dy/dx(x' + a (x - x')) da  (eq. 1)

    The attribution sums to y(x) - y(x'). For the options, see `PathAttribution`.

    Source: Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017.
    """

    name = "integrated-gradients"

    def attribute(self, model: SharedModel, block: ImageBlock, adapter: xai.ModelAdapter) -> Float[Tensor, "N C *size"]:
        """Integrate in blocks of steps."""
        from captum import attr

        return self.correction * attr.IntegratedGradients(model).attribute(
            block.images,
            block.baselines,
            additional_forward_args=(block.indices,),
            n_steps=self.n_steps,
            method=self.method,
            internal_batch_size=model.block,
        )
