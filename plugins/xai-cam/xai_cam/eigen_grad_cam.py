"""Eigen-Grad-CAM."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import CAM
from xai_cam.principal_component import principal_component


class EigenGradCAM(CAM):
    """Eigen-Grad-CAM: the first principal component of gradient times activation.

    L = ReLU(O V_1), at feature-map resolution. O = U S V^T [hw,K] contains dy/dA_k,ij A_k,ij minus its spatial mean.
    The decomposition does not determine the sign. Here O V_1 has a positive covariance with sum_k dy/dA_k,ij A_k,ij,
    the map of HiResCAM, so that positive values are evidence for the target.

    pytorch-grad-cam 1.5.7 keeps the sign of the decomposition. Its maps may show evidence against the target as
    evidence for it.

    Source: Gildenblat and contributors, pytorch-grad-cam, as a class-specific variant of Eigen-CAM; there is no paper.
    """

    name = "eigen-grad-cam"

    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K *grid"]:
        """Multiply the activation by the gradient elementwise."""
        return captured.gradient(layer) * captured.activation(layer)

    def map(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B *grid"]:
        """Project the channels on their first principal direction and rectify the result."""
        return principal_component(self.channels(captured, layer)).relu()
