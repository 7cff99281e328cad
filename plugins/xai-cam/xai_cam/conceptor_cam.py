"""Conceptor-CAM."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import Layers
from xai_cam.contrastive import Comparison, Negatives
from xai_cam.principal import TINY, power
from xai_core.plugin import OptionError


class ConceptorCAM(Comparison):
    """Conceptor-CAM: a base CAM seen through what its channels share for the class, and not for other classes.

    A reconstruction from the paper's abstract and from conceptor theory, not checked against the authors'
    implementation.

    With X = diag(w) A [K,N] the channels of a base CAM for the target, and Y_j those for m other classes of the
    same image, C+ and C_j are the conceptors of X and Y_j, whose apertures are relative to their largest eigenvalue:

        G = a^2 X'X / s,    S = (a^2 / s) sum_j b^2 / (m t_j) (X'Y_j)(X'Y_j)',    F = (I + G + S)^-1 G
        L = ReLU(1'X F) = ReLU(1' (C+ AND NOT OR_j C_j) X)

    with s and t_j the largest eigenvalues of X'X and Y_j'Y_j. With `intra`, L = ReLU(1'X F D), where
    D = (I + P (I + Q))^-1 P, P = a^2 X'X / s, Q = b^2 / m sum_j Y_j'Y_j / t_j, does the same between places.

    Source: Qian et al., "Conceptor Learning for Class Activation Mapping", 2022 (abstract); Jaeger, "Controlling
    Recurrent Neural Networks by Conceptors", 2014, sections 3.8 and 3.13.

    Parameters
    ----------
    layer
        As for the base, where the base is given by name.
    base
        Name, spec or object of a CAM: `grad-cam`, `grad-cam++`, `score-cam`.
    aperture
        a > 0; the larger, the nearer to the base.
    negative_aperture
        b >= 0; 0 takes no notice of other classes.
    negatives
        How many of the highest-scoring other classes are negatives (fewer where the model has fewer), or their ids
        (`3+7`, or `3+` for one).
    intra
        Also relate places to each other.
    """

    name = "conceptor-cam"

    def __init__(
        self,
        layer: Layers = None,
        base: str | xai.Explainer = "grad-cam",
        aperture: float = 10.0,
        negative_aperture: float = 3.0,
        negatives: Negatives = 3,
        intra: bool = False,
    ) -> None:
        if aperture <= 0 or negative_aperture < 0:
            raise OptionError(
                f"aperture must be positive and negative_aperture not negative, got {aperture} and {negative_aperture}"
            )
        super().__init__(layer, base, negatives)
        self.aperture = aperture
        self.negative_aperture = negative_aperture
        self.intra = intra

    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K h w"]:
        """The base's channels, seen through the conceptors."""
        rivals = captured.rivals if self._rivals else []
        positive = self._base.channels(captured, layer)
        negatives = [self._base.channels(rival, layer).flatten(2).double() for rival in rivals]
        filtered = through_conceptors(
            positive.flatten(2).double(), negatives, self.aperture, self.negative_aperture, self.intra
        )
        return filtered.unflatten(2, positive.shape[2:]).to(positive.dtype)


def through_conceptors(
    x: Float[Tensor, "B K N"],
    negatives: Sequence[Float[Tensor, "B K N"]],
    aperture: float,
    negative_aperture: float,
    intra: bool = False,
) -> Float[Tensor, "B K N"]:
    """(C+ AND NOT OR_j C_j) X, and times D where `intra`; in places or in channels, whichever are fewer.

    Both come from C AND NOT B = X (I + X'X + X'Y Y'X)^-1 X', in which X and Y hold their apertures. Zero where
    X is zero; a negative that is zero is skipped. Without a host synchronization.
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


def largest_eigenvalue(x: Float[Tensor, "B K N"]) -> Float[Tensor, "B 1 1"]:
    """The largest eigenvalue of X'X."""
    gram = x.mT @ x if x.shape[2] <= x.shape[1] else x @ x.mT
    first = power(gram)
    trace = first.diagonal(dim1=1, dim2=2).sum(1).clamp_min(TINY)
    return ((gram * first).sum((1, 2)) / trace)[:, None, None]


def inverse(eigenvalue: Float[Tensor, "B 1 1"]) -> Float[Tensor, "B 1 1"]:
    """Its inverse, or zero where there is nothing."""
    return torch.where(eigenvalue > TINY, 1 / eigenvalue.clamp_min(TINY), 0)


def square(x: Float[Tensor, "B n p"]) -> Float[Tensor, "B n n"]:
    """X X'."""
    return x @ x.mT


def weighted_sum(weights: Sequence[Tensor], matrices: Sequence[Tensor], like: Tensor) -> Tensor:
    """The weighted sum of matrices, or zero of none."""
    total = torch.zeros_like(like)
    for weight, matrix in zip(weights, matrices, strict=True):
        total = total + weight * matrix
    return total


def solve(a: Float[Tensor, "B n n"], b: Float[Tensor, "B n p"]) -> Float[Tensor, "B n p"]:
    """A^-1 B, without waiting for the device to say whether A is singular; here it never is."""
    result: Tensor = torch.linalg.solve_ex(a, b).result
    return result
