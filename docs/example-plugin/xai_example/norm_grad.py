"""NormGrad."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai


class NormGrad(xai.Explainer):
    """NormGrad: how much each place would add to the gradient of the weights of a 1x1 convolution put after the layer.

    L_ij = ||a_ij|| ||g_ij||, with a_ij [K] the activations at a place, g_ij [K] the gradient of the target's score
    there: the Frobenius norm of the outer product of the two, which is that place's part of the gradient. The paper
    takes the gradient of the loss; here it is that of what is explained.

    Where a model's head reads the mean over places, the gradient at the last layer is the same everywhere, so that the
    map does not depend on the target; name an earlier layer.

    Source: Rebuffi et al., "There and Back Again: Revisiting Backpropagation Saliency Methods", CVPR 2020, for the
    virtual identity layer.

    Parameters
    ----------
    layer
        The name of a module; default: the last spatial features.
    """

    name = "norm-grad"

    def __init__(self, layer: str | None = None) -> None:
        self.layer = layer

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """The activations of the layer, and their gradients."""
        return xai.Needs(activations=(self.layer or adapter.default_layer,), gradients=True)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B h w"]:
        """Multiply the two norms."""
        return captured.activation().norm(dim=1) * captured.gradient().norm(dim=1)
