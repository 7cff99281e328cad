"""Layer conductance."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import ImageBlock
from xai_captum.layer_path import LayerPathAttribution
from xai_core.plugin import SharedModel


class LayerConductance(LayerPathAttribution):
    """Layer conductance: the part of integrated gradients that flows through each feature of a layer.

        sum_i (x_i - x'_i) int_0^1 dy/dA dA/dx_i da  (eq. 3)

    This is the change of y due to the change of A along the path from the baseline to the image. It sums to y(x) -
    y(x') if the score depends on the image through the layer only. For the options, see `LayerPathAttribution`.

    Source: Dhamdhere, Sundararajan and Yan, "How Important is a Neuron?", ICLR 2019.
    """

    name = "layer-conductance"
    variants = 2  # differences between consecutive steps

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count one for each end of each step, and one for the shared pass."""
        return 2 + self.n_steps

    def attribute(self, model: SharedModel, block: ImageBlock, adapter: xai.ModelAdapter) -> Float[Tensor, "N K *grid"]:
        """Integrate in blocks of steps."""
        from captum import attr

        name = self.layer_name(adapter)
        attribution = attr.LayerConductance(model, model.layer(name)).attribute(
            block.images,
            block.baselines,
            additional_forward_args=(block.indices,),
            n_steps=self.n_steps,
            method=self.method,
            internal_batch_size=max(model.block, self.variants),
        )
        return adapter.spatial(attribution, name)
