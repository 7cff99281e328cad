"""Deletion and insertion curves of the maps of a photo, one by one."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from xai_core.errors import UnknownMetricError
from xai_core.web_app.photo_maps import PhotoMaps, plain_message

STEPS = 28
METRICS = ("deletion", "insertion")


class Curve(NamedTuple):
    """A perturbation curve.

    Attributes
    ----------
    method
        The method of the map.
    fractions
        The fraction of pixels replaced at each point.
    scores
        The score of the model at each point.
    area
        The area under the curve.
    """

    method: str
    fractions: list[float]
    scores: list[float]
    area: float


Curves = Mapping[str, list[Curve]]
"""The curves of each metric."""


def compute_curves(explained: PhotoMaps) -> Iterator[tuple[Curves, str]]:
    """Yield the curves each time that another curve is computed, with a message if curves cannot be computed."""
    curves: Curves = {metric: [] for metric in METRICS}
    yield curves, ""
    for method, saliency in explained.maps.items():
        for metric in METRICS:
            spec = f"{metric}:steps={STEPS}"
            try:
                result = explained.model.engine.evaluate(explained.images, saliency, {metric: spec})[metric]
            except UnknownMetricError:
                yield curves, "Curves need the package xai-faithfulness: run pip install xai-faithfulness"
                return
            except Exception as error:
                yield curves, plain_message(error)
                return
            assert result.curve is not None
            assert result.fractions is not None
            scores = result.curve[0].float().tolist()
            curve = Curve(method, result.fractions.tolist(), scores, float(result.values[0]))
            curves = {**curves, metric: [*curves[metric], curve]}
            yield curves, ""
