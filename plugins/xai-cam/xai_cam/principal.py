"""The first principal component of channels, and their first singular component."""

import torch
from jaxtyping import Float
from torch import Tensor

SQUARINGS = 20
"""How often the Gram matrix is squared: 2^20 steps of the power method."""

TINY = torch.finfo(torch.float64).tiny


def principal_component(channels: Float[Tensor, "B K h w"]) -> Float[Tensor, "B h w"]:
    """Project the channels, each without its mean, on the direction in which they vary most over places.

    The map sums to zero, and has the sign with which it covaries positively with the sum of the channels.
    It is constant where the channels are.
    """
    centered = channels - channels.mean((-2, -1), keepdim=True)
    return singular_component(centered, towards=centered.sum(1))


def singular_component(channels: Float[Tensor, "B K h w"], towards: Float[Tensor, "B h w"]) -> Float[Tensor, "B h w"]:
    """Project the channels on their first right singular vector: O V_1, of O = U S V^T.

    O [hw,K] holds the channels at each place. V_1 comes from the power method in float64, by squaring the
    smaller Gram matrix of O. `torch.linalg.eigh` and `svd` would wait for the device, fail on values that are
    not finite, and leave the sign to chance.

    Parameters
    ----------
    channels
        The channels of a layer.
    towards
        The component has the sign that makes its inner product with this map positive.

    Returns
    -------
    Tensor
        The component, as large as the channels make it; zero where the channels are zero.
    """
    places = channels.flatten(2).mT.double()  # [B,N,K]
    places = places / places.abs().amax((1, 2), keepdim=True).clamp_min(TINY)
    start = towards.flatten(1)[..., None].double()  # [B,N,1]
    if places.shape[2] < places.shape[1]:
        direction = power(places.mT @ places) @ (places.mT @ start)
    else:
        direction = places.mT @ (power(places @ places.mT) @ start)
    direction = direction / torch.linalg.vector_norm(direction, dim=1, keepdim=True).clamp_min(TINY)  # [B,K,1]
    return torch.einsum("bkhw,bk->bhw", channels, direction[..., 0].to(channels.dtype))


def power(gram: Float[Tensor, "B n n"]) -> Float[Tensor, "B n n"]:
    """Raise a Gram matrix to the power 2^SQUARINGS, up to its scale: a projection on its first eigenvector."""
    for _ in range(SQUARINGS):
        gram = gram / torch.linalg.matrix_norm(gram, keepdim=True).clamp_min(TINY)
        gram = gram @ gram
    return gram
