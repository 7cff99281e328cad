"""Grad-CAM."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import CAM, spatial_dims


class GradCAM(CAM):
    """Grad-CAM: activations weighted by their mean gradient.

        alpha_k = 1/Z sum_ij dy/dA_k,ij  (eq. 1),    L = ReLU(sum_k alpha_k A_k)  (eq. 2)

    The map has feature-map resolution.

    Source: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV
    2017.
    """

    name = "grad-cam"

    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K *grid"]:
        """Weight each channel by its mean gradient."""
        gradient = captured.gradient(layer)
        return gradient.mean(spatial_dims(gradient), keepdim=True) * captured.activation(layer)
