"""Conceptor-CAM."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import Layers
from xai_cam.contrastive_cam import ContrastiveCAM, Negatives
from xai_cam.principal_component import matrix_power, tiny
from xai_core.plugin import check_flag, check_number, wide


class ConceptorCAM(ContrastiveCAM):
    """Conceptor-CAM: a base CAM, projected onto directions of the target class but not of other classes.

    It is reconstructed from the paper's abstract and from conceptor theory, and was not compared with the authors'
    implementation.

    X = diag(w) A [K,N] are the channels of a base CAM for the target. Y_j are these channels for m other classes of the
    same image. C+ and C_j are the conceptors of X and Y_j, with apertures relative to their largest eigenvalue:

        G = a^2 X'X / s,    S = (a^2 / s) sum_j b^2 / (m t_j) (X'Y_j)(X'Y_j)',    F = (I + G + S)^-1 G
        L = ReLU(1'X F) = ReLU(1' (C+ AND NOT OR_j C_j) X)

    Here s and t_j are the largest eigenvalues of X'X and Y_j'Y_j. With `intra`, the factor D filters the locations in
    the same way:

        P = a^2 X'X / s,    Q = b^2 / m sum_j Y_j'Y_j / t_j,    D = (I + P (I + Q))^-1 P
        L = ReLU(1'X F D)

    Source: Qian et al., "Conceptor Learning for Class Activation Mapping", 2022 (abstract); Jaeger, "Controlling
    Recurrent Neural Networks by Conceptors", 2014, sections 3.8 and 3.13.

    Parameters
    ----------
    layer
        Layer of the base, if the base is given by name.
    base
        Name, spec or object of a CAM: `grad-cam`, `grad-cam++`, `score-cam`.
    aperture
        The factor a, > 0. For large values, the map approaches the map of the base.
    negative_aperture
        The factor b, >= 0. With 0, other classes have no influence.
    negatives
        Number of highest-scoring other classes (fewer if the model has fewer), or their ids (`3+7`, or `3+` for a
        single id).
    intra
        Whether to filter the locations too.
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
        self.aperture = check_number("aperture", aperture, above=0)
        self.negative_aperture = check_number("negative_aperture", negative_aperture, minimum=0)
        self.intra = check_flag("intra", intra)
        super().__init__(layer, base, negatives)

    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K *grid"]:
        """Filter the channels of the base by the conceptors."""
        rivals = captured.rivals if self._rivals else []
        positive = self._base.channels(captured, layer)
        negatives = [wide(self._base.channels(rival, layer).flatten(2)) for rival in rivals]
        filtered = filter_by_conceptors(
            wide(positive.flatten(2)), negatives, self.aperture, self.negative_aperture, self.intra
        )
        return filtered.unflatten(2, positive.shape[2:]).to(positive.dtype)


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
