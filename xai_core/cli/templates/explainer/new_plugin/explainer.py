"""NewPlugin: a class activation map."""

import torch

import xai_core as xai


class NewPlugin(xai.Explainer):
    """NewPlugin: activations weighted by their mean gradient. TODO: replace this example by your method.

        alpha_k = 1/Z sum_ij dy/dA_k,ij
        L = ReLU(sum_k alpha_k A_k)

    A [K,h,w] is the activation of a layer, y is the target's score, and Z = h w.

    Source: Selvaraju et al., "Grad-CAM", ICCV 2017, eq. 1-2. TODO: cite your own source with its equation.

    Parameters
    ----------
    layer
        Name of a module. The default is the last layer with spatial features, which xai-core finds.
    """

    name = "new-plugin"

    def __init__(self, layer: str | None = None) -> None:
        self.layer = layer

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request the activation of the layer, and its gradient."""
        return xai.Needs(activations=(self.layer or adapter.default_layer,), gradients=True)

    def explain(self, captured: xai.Captured) -> torch.Tensor:
        """Return relevance [B,h,w] of any range. The engine resizes and normalizes it."""
        activation, gradient = captured.activation(), captured.gradient()  # [B,K,h,w] each
        weights = gradient.mean((2, 3), keepdim=True)  # [B,K,1,1]
        return (weights * activation).sum(1).relu()
