"""FEM, the feature explanation method."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import CAM, Layers, spatial_dims
from xai_core.plugin import check_number


class FEM(CAM):
    """FEM: the locations at which a channel is unusually active, weighted by the mean of the channel.

        L = sum_k mean(A_k) [A_k > mean(A_k) + k std(A_k)]

    The mean and the standard deviation are spatial. The map has feature-map resolution and does not depend on the
    target. Nothing is rectified: the map is nonnegative if the activations are.

    The authors' code computes the same map. pytorch-grad-cam 1.5.7 computes a different one: the rectified sum of the
    activations, each channel weighted by the fraction of its locations above the threshold.

    Source: Fuad et al., "Features Understanding in 3D CNNs for Actions Recognition in Video", IPTA 2020.

    Parameters
    ----------
    layer
        Module name, module, or a list of them. Default: the last features before pooling, which the adapter finds.
    k
        Threshold in standard deviations above the mean of a channel, > 0.
    """

    name = "fem"
    gradients: ClassVar[bool] = False
    targeted: ClassVar[bool] = False

    def __init__(self, layer: Layers = None, k: float = 2) -> None:
        super().__init__(layer)
        self.k = check_number("k", k, above=0)

    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K *grid"]:
        """Return the mean of each channel at its unusually active locations, and zero elsewhere."""
        activation = captured.activation(layer)
        spatial = spatial_dims(activation)
        mean = activation.mean(spatial, keepdim=True)  # [B,K,1,1]
        above = activation - mean
        deviation = above.square().mean(spatial, keepdim=True).sqrt()
        return mean * (above > self.k * deviation)

    def map(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B *grid"]:
        """Sum the weighted channels."""
        return self.channels(captured, layer).sum(1)
