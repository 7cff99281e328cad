"""Integrated gradients at a layer."""

from collections.abc import Mapping
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import ImageBlock
from xai_captum.layer_path import LayerPathAttribution
from xai_core.plugin import SharedModel


class LayerIntegratedGradients(LayerPathAttribution):
    """Integrated gradients of a layer's features, along the line from the features of a baseline to those of the image.

        (A(x) - A(x')) * int_0^1 dy/dA(A(x') + a (A(x) - A(x'))) da

    The attribution sums to y(x) - y(x') if the score depends on the image through the layer only. For the options, see
    `LayerPathAttribution`.

    Source: Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017, eq. 1 at a layer.
    """

    name = "layer-integrated-gradients"
    expected_failures: ClassVar[Mapping[str, str]] = {
        "avoids_host_transfers": "captum counts a layer's outputs on the host"
    }

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count one for each step, one for each end of the line, and one for the shared pass."""
        return 3 + self.n_steps

    def attribute(self, model: SharedModel, block: ImageBlock, adapter: xai.ModelAdapter) -> Float[Tensor, "N K *grid"]:
        """Integrate in blocks of steps."""
        from captum import attr

        name = self.layer_name(adapter)
        attribution = attr.LayerIntegratedGradients(model, model.layer(name)).attribute(
            block.images,
            block.baselines,
            additional_forward_args=(block.indices,),
            n_steps=self.n_steps,
            method=self.method,
            internal_batch_size=model.block,
        )
        return adapter.spatial(self.correction * attribution, name)
