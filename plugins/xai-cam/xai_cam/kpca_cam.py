"""KPCA-CAM."""

import math
from collections.abc import Callable
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import CAM, Layers, spatial_dims
from xai_cam.principal_component import leading_eigenvector
from xai_core.plugin import UnsuitableError, check_choice, check_number, wide

KERNELS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "linear": lambda gram, gamma: gram,
    "poly": lambda gram, gamma: (gamma * gram + 1).pow(3),
    "rbf": lambda gram, gamma: (-gamma * squared_distances(gram)).exp(),
    "sigmoid": lambda gram, gamma: (gamma * gram + 1).tanh(),
}
"""Functions of the inner products of the activations at all pairs of locations, and of gamma."""
MAX_CELLS = 4096
"""Largest number of locations. The kernel matrix of an image has the square of this number of elements."""


class KPCACAM(CAM):
    """KPCA-CAM: the first kernel principal component of the activations, which does not depend on the target.

        K_pq = k(a_p, a_q),    L_p = ReLU(sqrt(lambda) v_p)

    a_p [K] are the activations at location p, and each channel has zero mean. lambda is the largest eigenvalue of the
    kernel matrix K with centered rows and columns, and v is its unit eigenvector. The decomposition does not determine
    the sign, so the sign with a positive value of largest magnitude is chosen.

    Source: Karmani et al., "KPCA-CAM: Visual Explainability of Deep Computer Vision Models using Kernel PCA", 2024.
    The equation is that of the authors' code, which is part of pytorch-grad-cam.

    Parameters
    ----------
    layer
        See `CAM`. At most 4,096 locations.
    kernel
        k(a,b): `sigmoid` tanh(gamma a.b + 1), `rbf` exp(-gamma |a-b|^2), `poly` (gamma a.b + 1)^3 or `linear` a.b.
    gamma
        Factor in the kernel, positive. Default: 1 divided by the number of channels.
    """

    name = "kpca-cam"
    gradients: ClassVar[bool] = False
    targeted: ClassVar[bool] = False

    def __init__(self, layer: Layers = None, kernel: str = "sigmoid", gamma: float | None = None) -> None:
        super().__init__(layer)
        self.kernel = check_choice("kernel", kernel, tuple(KERNELS))
        self.gamma = None if gamma is None else check_number("gamma", gamma, above=0)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request the activations of the layers, after checking the number of their locations."""
        needs = super().needs(adapter)
        for layer in needs.activations:
            features = adapter.features(adapter.layer_name(layer))
            if features.cells > MAX_CELLS:
                raise UnsuitableError(
                    f"kpca-cam requires a layer with at most {MAX_CELLS} locations, but {features.layer!r} has "
                    f"{features.cells}; use a later layer, or eigen-cam"
                )
        return needs

    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K *grid"]:
        """Return the activations unchanged."""
        return captured.activation(layer)

    def map(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B *grid"]:
        """Compute the rectified component of each image, in blocks with a bounded size of the kernel matrices."""
        activation = self.channels(captured, layer)
        block = max(1, MAX_CELLS**2 // math.prod(activation.shape[2:]) ** 2)
        return torch.cat([self.component(images) for images in activation.split(block)]).relu()

    def component(self, activation: Float[Tensor, "B K *grid"]) -> Float[Tensor, "B *grid"]:
        """Return the first kernel principal component."""
        activation = activation - activation.mean(spatial_dims(activation), keepdim=True)
        rows = wide(activation.flatten(2).mT)  # [B,N,K]
        gamma = 1 / rows.shape[2] if self.gamma is None else self.gamma
        kernel = centered(KERNELS[self.kernel](rows @ rows.mT, gamma))
        vector = leading_eigenvector(kernel)
        value = torch.einsum("bp,bpq,bq->b", vector, kernel, vector).relu()
        component = value.sqrt()[:, None] * vector
        return component.view(len(activation), *activation.shape[2:]).to(activation.dtype)


def squared_distances(gram: Float[Tensor, "B n n"]) -> Float[Tensor, "B n n"]:
    """Return the squared distances of all pairs of vectors, from their inner products."""
    norms = gram.diagonal(dim1=1, dim2=2)
    return (norms[:, :, None] + norms[:, None] - 2 * gram).relu()


def centered(kernel: Float[Tensor, "B n n"]) -> Float[Tensor, "B n n"]:
    """Return the kernel matrix of vectors whose mean is subtracted in the space of the kernel."""
    return kernel - kernel.mean(1, keepdim=True) - kernel.mean(2, keepdim=True) + kernel.mean((1, 2), keepdim=True)
