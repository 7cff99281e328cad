"""Integrated gradients at a layer."""

from collections.abc import Mapping
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.at_layer import AtLayer
from xai_captum.attribution import Part
from xai_core.plugin import SharedModel


class LayerIntegratedGradients(AtLayer):
    """Integrated gradients of a layer's features: from those of a baseline to those of the image, in a straight line.

    (A(x) - A(x')) * int_0^1 dy/dA(A(x') + a (A(x) - A(x'))) da, which adds up to y(x) - y(x') where all of the score
    comes through the layer.

    Source: Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017, eq. 1 at a layer. Options:
    see `AtLayer`.
    """

    name = "layer-integrated-gradients"
    expected_failures: ClassVar[Mapping[str, str]] = {
        "avoids_host_transfers": "captum counts a layer's outputs on the host"
    }

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """One for each step, one for each end of the line, and the pass."""
        return 3 + self.n_steps

    def attribute(self, model: SharedModel, part: Part, adapter: xai.ModelAdapter) -> Float[Tensor, "N K h w"]:
        """Integrate in blocks of steps."""
        from captum import attr

        name = self.chosen(adapter)
        attribution = attr.LayerIntegratedGradients(model, model.layer(name)).attribute(
            part.images,
            part.baselines,
            additional_forward_args=(part.of,),
            n_steps=self.n_steps,
            method=self.method,
            internal_batch_size=model.block,
        )
        return adapter.spatial(self.whole * attribution, name)
