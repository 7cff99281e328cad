"""Grad-CAM."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import CAM


class GradCAM(CAM):
    """Grad-CAM: activations weighted by their mean gradient.

        alpha_k = 1/Z sum_ij dy/dA_k,ij  (eq. 1),    L = ReLU(sum_k alpha_k A_k)  (eq. 2)

    The map has feature-map resolution.

    Source: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV
    2017.
    """

    name = "grad-cam"

    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K h w"]:
        """Weight each channel by its mean gradient."""
        weights = captured.gradient(layer).mean((-2, -1), keepdim=True)  # [B,K,1,1]
        return weights * captured.activation(layer)
