"""XGrad-CAM."""

from collections.abc import Mapping
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import CAM


class XGradCAM(CAM):
    """XGrad-CAM: channels weighted by their mean gradient, each place counting by its share of the activation.

    w_k = sum_ij (A_k,ij / sum_ab A_k,ab) dy/dA_k,ij; L = ReLU(sum_k w_k A_k), at the layer's own size.

    The paper derives the weights for activations that are not negative; a channel whose sum is 0 is then dark,
    and its weight is 0 here. Where activations change sign, as in tokens, a sum near 0 makes a weight large.
    The authors' code adds 1e-6 to the sum, and pytorch-grad-cam 1.5.7 adds 1e-7, which takes weight from
    channels whose activations are small.

    Source: Fu et al., "Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs", BMVC
    2020.
    """

    name = "xgrad-cam"
    expected_failures: ClassVar[Mapping[str, str]] = {
        "supports_bfloat16": "it divides by the sum of a channel, which is about zero for normalized tokens",
    }

    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K h w"]:
        """Weigh each channel by its gradient, averaged by share of the activation."""
        activation, gradient = captured.activation(layer), captured.gradient(layer)
        total = activation.sum((-2, -1), keepdim=True)  # [B,K,1,1]
        weights = (gradient * activation).sum((-2, -1), keepdim=True) / total
        return weights.where(total != 0, 0) * activation
