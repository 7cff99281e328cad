"""NewPlugin: a class activation map."""

import torch

import xai_core as xai


class NewPlugin(xai.Explainer):
    """NewPlugin: activations weighted by their mean gradient. It is an example; put your method here.

    alpha_k = 1/Z sum_ij dy/dA_k,ij;  L = ReLU(sum_k alpha_k A_k), with A the activations [K,h,w] of a layer, y the
    target's score and Z = h w.

    Source: Selvaraju et al., "Grad-CAM", ICCV 2017, eq. 1-2. Name your own: paper, year, equation.

    Parameters
    ----------
    layer
        The name of a module; default: the last spatial features, which xai-core finds in any model.
    """

    name = "new-plugin"

    def __init__(self, layer: str | None = None) -> None:
        self.layer = layer

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """The activations of the layer, and their gradients."""
        return xai.Needs(activations=(self.layer or adapter.default_layer,), gradients=True)

    def explain(self, captured: xai.Captured) -> torch.Tensor:
        """Give relevance [B,h,w], any range; the engine resizes and normalizes."""
        activation, gradient = captured.activation(), captured.gradient()  # [B,K,h,w] each
        weights = gradient.mean((2, 3), keepdim=True)  # [B,K,1,1]
        return (weights * activation).sum(1).relu()
