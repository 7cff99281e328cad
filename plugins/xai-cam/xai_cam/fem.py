"""FEM, the feature explanation method."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import CAM, Layers
from xai_core.plugin import OptionError


class FEM(CAM):
    """FEM: the places where a channel is unusually active, weighted by its mean, whatever the target.

    L = sum_k mean(A_k) [A_k > mean(A_k) + k std(A_k)], mean and standard deviation over places, at the layer's
    own size. Nothing is rectified: activations that are not negative give a map that is not negative.

    So in its authors' code. pytorch-grad-cam 1.5.7 sums the activations themselves, each channel weighted by
    the share of its places above the threshold, and rectifies the sum: another map.

    Source: Fuad et al., "Features Understanding in 3D CNNs for Actions Recognition in Video", IPTA 2020.

    Parameters
    ----------
    layer
        Module name or module, or a list of them; default: the last spatial features, which the adapter finds.
    k
        How many standard deviations above its mean a channel is unusually active; positive.
    """

    name = "fem"
    gradients: ClassVar[bool] = False
    targeted: ClassVar[bool] = False

    def __init__(self, layer: Layers = None, k: float = 2) -> None:
        if not k > 0:
            raise OptionError(f"k must be positive, got {k}")
        super().__init__(layer)
        self.k = k

    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K h w"]:
        """Weigh the unusually active places of each channel by its mean."""
        activation = captured.activation(layer)
        mean = activation.mean((-2, -1), keepdim=True)  # [B,K,1,1]
        above = activation - mean
        deviation = above.square().mean((-2, -1), keepdim=True).sqrt()
        return mean * (above > self.k * deviation)

    def map(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B h w"]:
        """Sum the weighted channels."""
        return self.channels(captured, layer).sum(1)
