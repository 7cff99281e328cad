"""First principal component and first singular component of channels."""

import torch
from jaxtyping import Float
from torch import Tensor

from xai_cam.base import spatial_dims
from xai_core.plugin import wide

SQUARINGS = 20
"""Number of times that the Gram matrix is squared, which amounts to 2^20 steps of power iteration."""


def tiny(like: Tensor) -> float:
    """Return the smallest normal number of a tensor's type."""
    return torch.finfo(like.dtype).tiny


def principal_component(channels: Float[Tensor, "B K *grid"]) -> Float[Tensor, "B *grid"]:
    """Project the centered channels on the direction of their largest spatial variance.

    The spatial mean of each channel is subtracted first. The map sums to zero and has a positive covariance with the
    sum of the channels. It is constant if the channels are constant.
    """
    centered = channels - channels.mean(spatial_dims(channels), keepdim=True)
    return singular_component(centered, towards=centered.sum(1))


def singular_component(
    channels: Float[Tensor, "B K *grid"], towards: Float[Tensor, "B *grid"]
) -> Float[Tensor, "B *grid"]:
    """Project the channels on their first right singular vector: O V_1, with O = U S V^T.

    O [hw,K] contains the channels at each location. V_1 is computed by power iteration, through squarings of the
    smaller Gram matrix of O, in float64 if the device supports it. In contrast, `torch.linalg.eigh` and `svd` wait for
    the device, fail for non-finite values, and return an arbitrary sign.

    Parameters
    ----------
    channels
        The channels of a layer.
    towards
        The sign of the component is chosen so that its inner product with this map is positive.

    Returns
    -------
    Tensor
        The component, in the units of the channels. It is zero if the channels are zero.
    """
    rows = wide(channels.flatten(2).mT)  # [B,N,K]
    rows = rows / rows.abs().amax((1, 2), keepdim=True).clamp_min(tiny(rows))
    start = wide(towards.flatten(1)[..., None])  # [B,N,1]
    if rows.shape[2] < rows.shape[1]:
        direction = matrix_power(rows.mT @ rows) @ (rows.mT @ start)
    else:
        direction = rows.mT @ (matrix_power(rows @ rows.mT) @ start)
    direction = direction / torch.linalg.vector_norm(direction, dim=1, keepdim=True).clamp_min(tiny(rows))  # [B,K,1]
    return torch.einsum("bk...,bk->b...", channels, direction[..., 0].to(channels.dtype))


def leading_eigenvector(matrix: Float[Tensor, "B n n"]) -> Float[Tensor, "B n"]:
    """Return the unit eigenvector of the largest eigenvalue of a symmetric matrix, which may be indefinite.

    The element of largest magnitude is positive. The vector is zero if the matrix is zero.
    """
    shift = torch.linalg.matrix_norm(matrix, keepdim=True)  # no eigenvalue of the sum is negative
    projection = matrix_power(matrix + shift * torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device))
    column = projection.diagonal(dim1=1, dim2=2).argmax(1)[:, None, None]
    vector = projection.gather(2, column.expand(-1, matrix.shape[1], 1))[..., 0]
    vector = vector / torch.linalg.vector_norm(vector, dim=1, keepdim=True).clamp_min(tiny(matrix))
    return vector.where(vector.amax(1, keepdim=True) >= -vector.amin(1, keepdim=True), -vector)


def matrix_power(gram: Float[Tensor, "B n n"]) -> Float[Tensor, "B n n"]:
    """Raise a Gram matrix to the power 2^SQUARINGS, up to a factor: a projection on its first eigenvector."""
    for _ in range(SQUARINGS):
        gram = gram / torch.linalg.matrix_norm(gram, keepdim=True).clamp_min(tiny(gram))
        gram = gram @ gram
    return gram
