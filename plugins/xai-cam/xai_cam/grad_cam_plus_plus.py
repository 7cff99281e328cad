"""Grad-CAM++."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import CAM, spatial_dims


class GradCAMPlusPlus(CAM):
    """Grad-CAM++: channels weighted by a weighted sum of their positive gradients.

        g = dy/dA_k,ij,    alpha_k,ij = g^2 / (2 g^2 + g^3 sum_ab A_k,ab)  (eq. 19)
        w_k = sum_ij alpha_k,ij ReLU(g),    L = ReLU(sum_k w_k A_k)

    The map has feature-map resolution. alpha is computed as 1 / (2 + g sum_ab A_k,ab), which is the same number and
    cannot underflow. It is 0 if the denominator is 0. Eq. 19 assumes that the class score is the exponential of y. Its
    factor exp(y) scales the whole map and is omitted here, as in other implementations.

    pytorch-grad-cam 1.5.7 adds 1e-6 to the denominator. This has no effect for large gradients, but dominates for small
    ones, whose weights become sum_ij g^2 ReLU(g) 1e6. In torchcam 0.5.0, the division has no effect, so that the
    weights are sum_ij g^2 ReLU(g).

    Source: Chattopadhay et al., "Grad-CAM++: Generalized Gradient-based Visual Explanations for Deep Convolutional
    Networks", WACV 2018.
    """

    name = "grad-cam++"

    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K *grid"]:
        """Weight each channel by the sum of its positive gradients times alpha."""
        activation, gradient = captured.activation(layer), captured.gradient(layer)
        return channel_weights(activation, gradient, gradient) * activation


def channel_weights(
    activation: Float[Tensor, "B K *grid"], first: Float[Tensor, "B K *grid"], ratio: Float[Tensor, "B K *grid"]
) -> Float[Tensor, "B K *one"]:
    """Return sum_ij alpha ReLU(D1), with alpha = D2 / (2 D2 + D3 sum_ab A) from the derivatives D1, D2 and D3.

    The arguments are A, D1 and D3 / D2. The result has one cell per channel.
    """
    spatial = spatial_dims(activation)
    denominator = 2 + ratio * activation.sum(spatial, keepdim=True)  # [B,K,h,w]
    alpha = denominator.reciprocal().where(denominator != 0, 0)
    return (alpha * first.relu()).sum(spatial, keepdim=True)
