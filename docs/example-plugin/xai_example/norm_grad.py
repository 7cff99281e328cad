"""NormGrad: the gradient of a virtual 1x1 convolution, location by location."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai


class NormGrad(xai.Explainer):
    """NormGrad: contribution of each location to the gradient of a 1x1 convolution inserted after the layer.

        L_ij = ||a_ij|| ||g_ij||

    a_ij [K] are the activations at a location, and g_ij [K] is the gradient of the target's score with respect to them.
    The contribution of a location to the gradient of the weights is the outer product of a_ij and g_ij. L_ij is its
    Frobenius norm. The paper uses the gradient of the loss instead of the target's score.

    If the head uses the spatial mean of the last layer, the gradient at that layer is the same at every location. The
    map then does not depend on the target. Use an earlier layer in this case.

    Source: Rebuffi et al., "There and Back Again: Revisiting Backpropagation Saliency Methods", CVPR 2020, for the
    virtual identity layer.

    Parameters
    ----------
    layer
        Name of a module. The default is the last layer with spatial features.
    """

    name = "norm-grad"

    def __init__(self, layer: str | None = None) -> None:
        self.layer = layer

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request the activations of the layer, and their gradients."""
        return xai.Needs(activations=(self.layer or adapter.default_layer,), gradients=True)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B h w"]:
        """Return the product of the two norms, [B,h,w]."""
        return captured.activation().norm(dim=1) * captured.gradient().norm(dim=1)
