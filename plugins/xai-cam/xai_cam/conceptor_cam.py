"""Conceptor-CAM."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import Layers
from xai_cam.conceptors import filter_by_conceptors, filter_by_locations
from xai_cam.contrastive_cam import ContrastiveCAM, Negatives
from xai_core.plugin import OptionError, check_choice, check_flag, check_number, wide

RELATIONS = ("channels", "places")
APERTURES = {"score-cam": (1.0, 0.0)}
"""Default factors a and b of bases for which other values than 10 and 3 were measured to be better."""


class ConceptorCAM(ContrastiveCAM):
    """Conceptor-CAM: a base CAM, filtered by conceptors.

    It is reconstructed from the paper's abstract and from conceptor theory, and was not compared with the authors'
    implementation.

    With `relation="channels"`, the base CAM is projected onto directions of the target class but not of other classes.
    X = diag(w) A [K,N] are the channels of a base CAM for the target. Y_j are these channels for m other classes of the
    same image. C+ and C_j are the conceptors of X and Y_j, with apertures relative to their largest eigenvalue:

        G = a^2 X'X / s,    S = (a^2 / s) sum_j b^2 / (m t_j) (X'Y_j)(X'Y_j)',    F = (I + G + S)^-1 G
        L = ReLU(1'X F) = ReLU(1' (C+ AND NOT OR_j C_j) X)

    Here s and t_j are the largest eigenvalues of X'X and Y_j'Y_j. With `intra`, the factor D filters the locations in
    the same way:

        P = a^2 X'X / s,    Q = b^2 / m sum_j Y_j'Y_j / t_j,    D = (I + P (I + Q))^-1 P
        L = ReLU(1'X F D)

    With `relation="places"`, the base CAM is filtered by the conceptor of the locations. E are the features of the
    layer minus their mean over locations, and u is the largest eigenvalue of E'E. No other classes are involved, and
    the mean of the base CAM has no effect:

        P = a^2 E'E / u,    D = P (I + P)^-1,    L = ReLU(1'X D)

    Source: Qian et al., "Conceptor Learning for Class Activation Mapping", 2022 (abstract); Jaeger, "Controlling
    Recurrent Neural Networks by Conceptors", 2014, sections 3.8 and 3.13. `relation="places"` has no published source.

    Parameters
    ----------
    layer
        Layer of the base, if the base is given by name.
    base
        Name, spec or object of a CAM: `grad-cam`, `grad-cam++`, `score-cam`.
    relation
        `channels` or `places`.
    aperture
        The factor a, > 0. For large values of a, with `channels` and b = 0, the map approaches the map of the base.
        Default: 10 for `channels`, but 1 if the base is `score-cam`, and 2 for `places`.
    negative_aperture
        The factor b, >= 0, for `channels` only. With 0, other classes have no influence. Default: 3, but 0 if the base
        is `score-cam`.
    negatives
        For `channels` only: number of highest-scoring other classes (fewer if the model has fewer), or their ids
        (`3+7`, or `3+` for a single id). Default: 3.
    intra
        Whether to filter the locations too, for `channels` only.
    """

    name = "conceptor-cam"

    def __init__(
        self,
        layer: Layers = None,
        base: str | xai.Explainer = "grad-cam",
        relation: str = "channels",
        aperture: float | None = None,
        negative_aperture: float | None = None,
        negatives: Negatives | None = None,
        intra: bool = False,
    ) -> None:
        self.relation = check_choice("relation", relation, RELATIONS)
        self.intra = check_flag("intra", intra)
        self.aperture, self.negative_aperture = aperture, negative_aperture
        is_contrastive = relation == "channels"
        if not is_contrastive and (negative_aperture is not None or negatives is not None or intra):
            raise OptionError(
                "negative_aperture, negatives and intra are options of relation=channels, the only relation that "
                "compares classes"
            )
        super().__init__(layer, base, (3 if negatives is None else negatives) if is_contrastive else 0)
        self.negatives = None if negatives is None else self.negatives
        a, b = APERTURES.get(self._base.name, (10.0, 3.0)) if is_contrastive else (2.0, 0.0)
        self._aperture = check_number("aperture", a if aperture is None else aperture, above=0)
        self._negative_aperture = check_number(
            "negative_aperture", b if negative_aperture is None else negative_aperture, minimum=0
        )

    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K *grid"]:
        """Filter the channels of the base by the conceptors."""
        channels = self._base.channels(captured, layer)
        x = wide(channels.flatten(2))
        if self.relation == "places":
            filtered = filter_by_locations(x, wide(captured.activation(layer).flatten(2)), self._aperture)
        else:
            filtered = filter_by_conceptors(
                x, self._negatives(captured, layer), self._aperture, self._negative_aperture, self.intra
            )
        return filtered.unflatten(2, channels.shape[2:]).to(channels.dtype)

    def _negatives(self, captured: xai.Captured, layer: str) -> list[Float[Tensor, "B K N"]]:
        """Return the channels of the base for the other classes."""
        rivals = captured.rivals if self._rivals else []
        return [wide(self._base.channels(rival, layer).flatten(2)) for rival in rivals]
