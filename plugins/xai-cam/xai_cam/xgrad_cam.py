"""XGrad-CAM."""

from collections.abc import Mapping
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import CAM, spatial_dims


class XGradCAM(CAM):
    """XGrad-CAM: channels weighted by the mean of their gradient, weighted by the activation.

        w_k = sum_ij (A_k,ij / sum_ab A_k,ab) dy/dA_k,ij,    L = ReLU(sum_k w_k A_k)

    The map has feature-map resolution. The paper derives the weights for nonnegative activations. A channel whose sum
    is 0 is then zero everywhere, and its weight is 0 here. If activations change their sign, as in tokens, a sum near 0
    results in a large weight. The authors' code adds 1e-6 to the sum and pytorch-grad-cam 1.5.7 adds 1e-7, which
    reduces the weight of channels with small activations.

    Source: Fu et al., "Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs", BMVC 2020.
    """

    name = "xgrad-cam"
    expected_failures: ClassVar[Mapping[str, str]] = {
        "supports_bfloat16": "the method divides by the sum of a channel, which is close to zero for normalized tokens",
    }

    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K *grid"]:
        """Weight each channel by the mean of its gradient, weighted by the activation."""
        activation, gradient = captured.activation(layer), captured.gradient(layer)
        spatial = spatial_dims(activation)
        total = activation.sum(spatial, keepdim=True)  # [B,K,1,1]
        weights = (gradient * activation).sum(spatial, keepdim=True) / total
        return weights.where(total != 0, 0) * activation
