"""Shapley-CAM."""

from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import CAM, spatial_dims


class ShapleyCAM(CAM):
    """Shapley-CAM: Grad-CAM with a second-order term.

        alpha_k = 1/Z sum_ij (g - 1/2 H A)_k,ij,    L = ReLU(sum_k alpha_k A_k)

    Here g is the gradient of the logit at the activation, and H is its Hessian. If the rest of the model is linear
    (pooling and a linear head), H is zero, and the map equals Grad-CAM. The method requires a second backward pass.

    Source: Cai, "CAMs as Shapley Value-based Explainers", 2025.
    """

    name = "shapley-cam"

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request the activations, gradients and curvature of the layers."""
        return replace(super().needs(adapter), curvature=True)

    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K *grid"]:
        """Weight each channel by its mean second-order Shapley value."""
        values = captured.gradient(layer) - captured.curvature(layer) / 2
        return values.mean(spatial_dims(values), keepdim=True) * captured.activation(layer)
