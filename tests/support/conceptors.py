"""Conceptors and their Boolean algebra by definition, in K x K and float64."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def conceptor(x: Array, aperture: float) -> Array:
    """C = R (R + a^-2 I)^-1, R = X X' over its largest eigenvalue."""
    r = x @ x.T / np.linalg.eigvalsh(x @ x.T)[-1]
    return r @ np.linalg.inv(r + np.eye(len(r)) / aperture**2)


def negation(c: Array) -> Array:
    return np.eye(len(c)) - c


def conjunction(c: Array, b: Array) -> Array:
    """(P (C^+ + B^+ - I) P)^+, with P the projector on the intersection of the ranges; here B is of full rank."""
    vectors, values, _ = np.linalg.svd(c)
    kept = vectors[:, values > 1e-9]
    projector = kept @ kept.T
    inverse = np.linalg.pinv(c, rcond=1e-9, hermitian=True) + np.linalg.inv(b) - np.eye(len(c))
    return np.linalg.pinv(projector @ inverse @ projector, rcond=1e-13, hermitian=True)


def disjunction(c: Array, b: Array) -> Array:
    """NOT (NOT C AND NOT B)."""
    return negation(conjunction(negation(c), negation(b)))


def and_not(x: Array, negatives: Sequence[Array], a: float, b: float) -> Array:
    """C+ AND NOT OR_j C_j, where each of m negatives has the aperture b / sqrt(m)."""
    c = conceptor(x, a)
    against = np.zeros_like(c)
    for y in negatives:
        against = disjunction(against, conceptor(y, b / len(negatives) ** 0.5))
    return conjunction(c, negation(against))


def place_conceptor(features: Array, a: float) -> Array:
    """C of the places [N,N], whose data are the channels minus their means."""
    return conceptor((features - features.mean(1, keepdims=True)).T, a)
