"""Conceptors on the channels of any CAM."""

import xai_core as xai
from xai_cam.conceptor_cam import ConceptorCAM
from xai_cam.contrastive_cam import Negatives


class Regulated(ConceptorCAM):
    """The map of a CAM whose weighted channels are filtered by conceptors, as in `conceptor-cam`.

    `regulated(layer-cam)` equals `conceptor-cam:base=layer-cam`. As a composite explainer, it also accepts a CAM with
    options, such as `regulated(score-cam:score=logit)`. The map is rectified. With `relation="channels"`, the CAM must
    not compare classes itself.

    Source: see `conceptor-cam`.

    Parameters
    ----------
    explainer
        Name, spec or object of a CAM. A method that does not sum weighted channels raises `OptionError`.
    relation, aperture, negative_aperture, negatives, intra
        The options of `conceptor-cam`.
    """

    name = "regulated"

    def __init__(
        self,
        explainer: str | xai.Explainer = "grad-cam",
        relation: str = "channels",
        aperture: float | None = None,
        negative_aperture: float | None = None,
        negatives: Negatives | None = None,
        intra: bool = False,
    ) -> None:
        super().__init__(None, explainer, relation, aperture, negative_aperture, negatives, intra)
        self.explainer = explainer
