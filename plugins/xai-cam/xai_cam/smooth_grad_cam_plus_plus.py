"""Smooth Grad-CAM++."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import CAM, Layers, selected_layers
from xai_cam.grad_cam_plus_plus import channel_weights
from xai_cam.noise import noisy_copies
from xai_core.plugin import check_integer, check_number, check_seed, wide


class SmoothGradCAMPlusPlus(CAM):
    """Smooth Grad-CAM++: Grad-CAM++ with derivatives that are averaged over n noisy images.

        g_s = dy/dA_k,ij of the image x + N(0, sigma^2),    D_p = 1/n sum_s g_s^p
        alpha_k,ij = D_2 / (2 D_2 + D_3 sum_ab A_k,ab)
        w_k = sum_ij alpha_k,ij ReLU(D_1),    L = ReLU(sum_k w_k A_k)

    A is the activation of the image without noise. As in `grad-cam++`, powers of the gradient stand for the
    derivatives of higher order, and alpha is 0 if its denominator is 0. Without noise, the map is that of `grad-cam++`.

    torchcam 0.5.0 reports that the numerator of alpha in the preprint is D_1, which does not lead to `grad-cam++`. Its
    weights multiply the activation of the last noisy image instead of A, and contain the gradient of that image instead
    of D_1.

    Source: Omeiza et al., "Smooth Grad-CAM++: An Enhanced Inference Level Visualization Technique for Deep
    Convolutional Neural Network Models", 2019.

    Parameters
    ----------
    layer
        See `CAM`.
    n
        Number of noisy images.
    sigma
        Standard deviation of the noise, as a fraction of the difference between the largest and the smallest value of
        each image.
    seed
        Random seed of the noise, which is the same for every image of a batch.
    """

    name = "smooth-grad-cam++"

    def __init__(self, layer: Layers = None, n: int = 10, sigma: float = 0.15, seed: int = 0) -> None:
        super().__init__(layer)
        self.n = check_integer("n", n, 1)
        self.sigma = check_number("sigma", sigma, minimum=0)
        self.seed = check_seed(seed)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request the activations of the layers. The gradients are those of noisy images."""
        return xai.Needs(activations=selected_layers(self.layer, adapter))

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count one for each noisy image."""
        return 1 + self.n

    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K *grid"]:
        """Weight each channel by the sum of its positive average gradients times alpha."""
        weights = captured.once((self, captured.index), lambda: self.weights(captured))
        return weights[layer] * captured.activation(layer)

    def weights(self, captured: xai.Captured) -> dict[str, Float[Tensor, "B K *one"]]:
        """Return the weight of each channel of each layer."""
        moments = Moments(captured.layers)
        for images in noisy_copies(captured.images, self.n, self.sigma, self.seed):
            captured.explain_images(images, moments)
        weights = {}
        for layer, sums in moments.sums.items():
            activation = captured.activation(layer)
            first, second, third = sums / self.n
            ratio = (third / second).where(second != 0, 0)
            weights[layer] = channel_weights(wide(activation), first, ratio).to(activation.dtype)
        return weights


@dataclass
class Moments:
    """Adds up the powers of the gradients of several batches, as an explainer of these batches.

    Attributes
    ----------
    layers
        Names of the layers.
    sums
        For each layer, the sums [3,B,K,*grid] of the gradients, their squares and their cubes.
    """

    layers: tuple[str, ...]
    sums: dict[str, Tensor] = field(default_factory=dict)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request the gradients of the layers."""
        return xai.Needs(activations=self.layers, gradients=True)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B *grid"]:
        """Add the powers of the gradients, and return the sum of the gradient over channels."""
        for layer in self.layers:
            gradient = wide(captured.gradient(layer))  # a cube of small gradients is zero in float32
            powers = torch.stack([gradient, gradient.square(), gradient.pow(3)])
            self.sums[layer] = self.sums[layer] + powers if layer in self.sums else powers
        return captured.gradient(self.layers[0]).sum(1)
