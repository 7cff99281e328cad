"""LayerCAM."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import CAM


class LayerCAM(CAM):
    """LayerCAM: positive gradient times activation, summed over channels.

        w_k,ij = ReLU(dy/dA_k,ij),    L_ij = ReLU(sum_k w_k,ij A_k,ij)  (eq. 6-8)

    The map has feature-map resolution. To combine several layers, the paper rescales the maps of shallow layers by
    tanh(2 M / max M) (eq. 9) and takes the maximum. Here the maps of several layers are averaged, as in all methods of
    this plugin.

    Source: Jiang et al., "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", IEEE Transactions
    on Image Processing, 2021.
    """

    name = "layer-cam"

    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K *grid"]:
        """Multiply the activation by the positive gradient elementwise."""
        return captured.gradient(layer).relu() * captured.activation(layer)
