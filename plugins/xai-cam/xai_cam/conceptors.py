"""Soft projections of channels by conceptors."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from xai_cam.principal_component import matrix_power, tiny


def filter_by_conceptors(
    x: Float[Tensor, "B K N"],
    negatives: Sequence[Float[Tensor, "B K N"]],
    aperture: float,
    negative_aperture: float,
    intra: bool = False,
) -> Float[Tensor, "B K N"]:
    """Return (C+ AND NOT OR_j C_j) X, multiplied by D if `intra`.

    Both factors follow from C AND NOT B = X (I + X'X + X'Y Y'X)^-1 X', in which X and Y include their apertures. The
    equations are solved in the space of locations or of channels, whichever is smaller. The result is zero if X is
    zero. Negatives that are zero have no effect. The host does not wait for the device.
    """
    c = aperture**2 * inverse(largest_eigenvalue(x))
    w = [negative_aperture**2 / len(negatives) * inverse(largest_eigenvalue(y)) for y in negatives]
    identity = torch.eye(min(x.shape[1:]), dtype=x.dtype, device=x.device)
    if x.shape[2] <= x.shape[1]:
        gram = x.mT @ x
        shared = weighted_sum(w, [square(x.mT @ y) for y in negatives], gram)
        filtered = x @ solve(identity + c * (gram + shared), c * gram)
        if intra:
            outside = identity + weighted_sum(w, [y.mT @ y for y in negatives], gram)
            filtered = filtered @ solve(identity + c * gram @ outside, c * gram)
        return filtered
    gram = x @ x.mT
    outside = identity + weighted_sum(w, [square(y) for y in negatives], gram)
    filtered = solve(identity + c * gram @ outside, c * gram) @ x
    if intra:
        shared = weighted_sum(w, [square(x @ y.mT) for y in negatives], gram)
        filtered = c * (filtered @ x.mT) @ solve(identity + c * (gram + shared), x)
    return filtered


def filter_by_locations(
    x: Float[Tensor, "B K N"], features: Float[Tensor, "B C N"], aperture: float
) -> Float[Tensor, "B K N"]:
    """Return X D, with D the conceptor of the locations of the centered features.

        P = a^2 F'F / s,    D = P (I + P)^-1

    F are the features minus the mean of each channel over locations, and s is the largest eigenvalue of F'F. The
    equation is solved in the space of locations or of channels, whichever is smaller. The result is zero if the
    features are constant. The host does not wait for the device.
    """
    centered = features - features.mean(2, keepdim=True)
    c = aperture**2 * inverse(largest_eigenvalue(centered))
    identity = torch.eye(min(centered.shape[1:]), dtype=x.dtype, device=x.device)
    if centered.shape[2] <= centered.shape[1]:
        gram = c * centered.mT @ centered
        return x @ solve(identity + gram, gram)
    gram = c * centered @ centered.mT
    return c * (x @ centered.mT) @ solve(identity + gram, centered)


def largest_eigenvalue(x: Float[Tensor, "B K N"]) -> Float[Tensor, "B 1 1"]:
    """Return the largest eigenvalue of X'X."""
    gram = x.mT @ x if x.shape[2] <= x.shape[1] else x @ x.mT
    first = matrix_power(gram)
    trace = first.diagonal(dim1=1, dim2=2).sum(1).clamp_min(tiny(gram))
    return ((gram * first).sum((1, 2)) / trace)[:, None, None]


def inverse(eigenvalue: Float[Tensor, "B 1 1"]) -> Float[Tensor, "B 1 1"]:
    """Return the inverse of an eigenvalue, or zero if the eigenvalue is zero."""
    return torch.where(eigenvalue > tiny(eigenvalue), 1 / eigenvalue.clamp_min(tiny(eigenvalue)), 0)


def square(x: Float[Tensor, "B n p"]) -> Float[Tensor, "B n n"]:
    """Return X X'."""
    return x @ x.mT


def weighted_sum(weights: Sequence[Tensor], matrices: Sequence[Tensor], like: Tensor) -> Tensor:
    """Return the weighted sum of matrices, or zeros like `like` if there are none."""
    total = torch.zeros_like(like)
    for weight, matrix in zip(weights, matrices, strict=True):
        total = total + weight * matrix
    return total


def solve(a: Float[Tensor, "B n n"], b: Float[Tensor, "B n p"]) -> Float[Tensor, "B n p"]:
    """Return A^-1 B for an invertible A. The host does not wait for the device to check whether A is singular."""
    result: Tensor = torch.linalg.solve_ex(a, b).result
    return result
