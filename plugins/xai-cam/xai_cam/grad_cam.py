"""Grad-CAM."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai


class GradCAM(xai.Explainer):
    """Grad-CAM: activations weighted by their mean gradient.

    alpha_k = 1/Z sum_ij dy/dA_k,ij (eq. 1); L = ReLU(sum_k alpha_k A_k) (eq. 2), at the layer's own size.

    Source: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
    Localization", ICCV 2017.

    Parameters
    ----------
    layer
        Module name or module; default: the last spatial features, which the adapter finds.
    """

    name = "grad-cam"

    def __init__(self, layer: xai.Layer | None = None) -> None:
        self.layer = layer

    def needs(self, adapter: xai.ModelAdapter) -> xai.Capture:
        """One layer's activation and gradient."""
        return xai.Capture(activations=(adapter.default_layer if self.layer is None else self.layer,), gradients=True)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B h w"]:
        """Weight each channel by its mean gradient."""
        activation, gradient = captured.activation(), captured.gradient()  # [B,K,h,w]
        weights = gradient.mean((-2, -1), keepdim=True)
        return (weights * activation).sum(1).relu()
