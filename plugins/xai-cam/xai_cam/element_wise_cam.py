"""Element-wise Grad-CAM."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import CAM


class ElementWiseCAM(CAM):
    """Element-wise Grad-CAM: the sum over channels of the positive part of gradient times activation.

        L_ij = sum_k ReLU(dy/dA_k,ij A_k,ij)

    The map has feature-map resolution. HiResCAM rectifies the sum instead. In HiResCAM, channels that contribute
    negatively reduce the map, while here they have no effect.

    Source: Gildenblat and contributors, pytorch-grad-cam, `GradCAMElementWise`; there is no paper.
    """

    name = "element-wise-cam"

    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K *grid"]:
        """Multiply the activation by the gradient elementwise and rectify the product."""
        return (captured.gradient(layer) * captured.activation(layer)).relu()
