"""Integrated gradients."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import Part
from xai_captum.path import Path
from xai_core.plugin import SharedModel


class IntegratedGradients(Path):
    """Integrated gradients: the gradient, integrated from a baseline to the image, times what lies between them.

    (x - x') * int_0^1 dy/dx(x' + a (x - x')) da (eq. 1), which adds up to y(x) - y(x').

    Source: Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017. Options: see `Path`.
    """

    name = "integrated-gradients"

    def attribute(self, model: SharedModel, part: Part, adapter: xai.ModelAdapter) -> Float[Tensor, "N C H W"]:
        """Integrate in blocks of steps."""
        from captum import attr

        return self.whole * attr.IntegratedGradients(model).attribute(
            part.images,
            part.baselines,
            additional_forward_args=(part.of,),
            n_steps=self.n_steps,
            method=self.method,
            internal_batch_size=model.block,
        )
