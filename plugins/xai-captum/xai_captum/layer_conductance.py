"""Conductance."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.at_layer import AtLayer
from xai_captum.attribution import Part
from xai_core.plugin import SharedModel


class LayerConductance(AtLayer):
    """Conductance: how much of integrated gradients flows through each of a layer's features.

    sum_i (x_i - x'_i) int_0^1 dy/dA dA/dx_i da (eq. 3): the change of y that the change of A brings, while the image
    comes out of the baseline. It adds up to y(x) - y(x') where all of the score comes through the layer.

    Source: Dhamdhere, Sundararajan and Yan, "How Important is a Neuron?", ICLR 2019. Options: see `AtLayer`.
    """

    name = "layer-conductance"
    at_least = 2  # differences between steps

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """One for each end of a step, and the pass."""
        return 2 + self.n_steps

    def attribute(self, model: SharedModel, part: Part, adapter: xai.ModelAdapter) -> Float[Tensor, "N K h w"]:
        """Integrate in blocks of steps."""
        from captum import attr

        name = self.chosen(adapter)
        attribution = attr.LayerConductance(model, model.layer(name)).attribute(
            part.images,
            part.baselines,
            additional_forward_args=(part.of,),
            n_steps=self.n_steps,
            method=self.method,
            internal_batch_size=max(model.block, self.at_least),
        )
        return adapter.spatial(attribution, name)
