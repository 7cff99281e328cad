"""Non-negative matrix factorization."""

import torch
from jaxtyping import Float
from torch import Tensor

from xai_cam.principal_component import leading_eigenvector, tiny

STEPS = 200
"""Number of steps. Each step updates both factors."""
SMALLEST = 1e-6
"""Initial values up to this fraction of the largest element count as zero, as in scikit-learn."""


def factorize(a: Float[Tensor, "B K N"], count: int) -> tuple[Float[Tensor, "B K count"], Float[Tensor, "B count N"]]:
    """Return non-negative W and H for which |A - W H|^2 has a local minimum. A is non-negative.

    The multiplicative updates of Lee and Seung (2001) start at NNDSVD (Boutsidis and Gallopoulos, 2008), with the mean
    of A in place of zeros. The number of steps is fixed, so the host does not wait for the device. If A is zero, both
    factors are zero.
    """
    largest = a.amax((1, 2), keepdim=True)
    a = a / largest.clamp_min(tiny(a))
    w, h = initial_factors(a, count)
    for _ in range(STEPS):
        w = w * (a @ h.mT) / nonzero(w @ (h @ h.mT))
        h = h * (w.mT @ a) / nonzero((w.mT @ w) @ h)
    return w, largest * h


def initial_factors(
    a: Float[Tensor, "B K N"], count: int
) -> tuple[Float[Tensor, "B K count"], Float[Tensor, "B count N"]]:
    """Return the non-negative parts of the leading singular vectors, with the mean of A in place of zeros.

    Each pair of singular vectors contributes either its positive or its negative parts: those with the larger product
    of norms. The result does not depend on the signs of the singular vectors.
    """
    pairs, rest = [], a
    for _ in range(count):
        x, y = leading_component(rest)
        pairs.append(larger_part(x, y))
        rest = rest - x[:, :, None] * y[:, None]
    w, h = (torch.stack(vectors, 2) for vectors in zip(*pairs, strict=True))
    mean = a.mean((1, 2), keepdim=True)
    return w.where(w > SMALLEST, mean), h.mT.where(h.mT > SMALLEST, mean)


def leading_component(a: Float[Tensor, "B K N"]) -> tuple[Float[Tensor, "B K"], Float[Tensor, "B N"]]:
    """Return vectors x and y whose outer product is the component of the largest singular value."""
    if a.shape[1] <= a.shape[2]:
        x = leading_eigenvector(a @ a.mT)
        return x, torch.einsum("bkn,bk->bn", a, x)
    y = leading_eigenvector(a.mT @ a)
    return torch.einsum("bkn,bn->bk", a, y), y


def larger_part(x: Float[Tensor, "B K"], y: Float[Tensor, "B N"]) -> tuple[Float[Tensor, "B K"], Float[Tensor, "B N"]]:
    """Return the positive parts of x and y, or the negative parts, scaled to equal norms."""
    is_positive = part_norm(x) * part_norm(y) > part_norm(-x) * part_norm(-y)
    x, y = (torch.where(is_positive, vector, -vector).relu() for vector in (x, y))
    ratio = (part_norm(y) / part_norm(x).clamp_min(tiny(x))).sqrt()
    return x * ratio, y / ratio.clamp_min(tiny(x))


def part_norm(x: Float[Tensor, "B n"]) -> Float[Tensor, "B 1"]:
    """Return the norm of the positive part."""
    return torch.linalg.vector_norm(x.relu(), dim=1, keepdim=True)


def nonzero(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Replace zeros by one, to divide by the result."""
    return x.where(x > 0, 1)
