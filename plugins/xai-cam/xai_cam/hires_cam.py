"""HiResCAM."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import CAM


class HiResCAM(CAM):
    """HiResCAM: gradient times activation, summed over channels.

        L_ij = ReLU(sum_k dy/dA_k,ij A_k,ij)

    The map has feature-map resolution. The paper defines the sum, and the authors' code rectifies it. If only global
    average pooling and one linear layer follow, it equals Grad-CAM.

    Source: Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural
    networks", 2020 (arXiv 2011.08891).
    """

    name = "hires-cam"

    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K *grid"]:
        """Multiply the activation by the gradient elementwise."""
        return captured.gradient(layer) * captured.activation(layer)
