"""Maps and scores of samples with every installed method that is compatible and fast enough, for `xai demo`."""

import inspect
import time
from collections.abc import Mapping, Sequence

from jaxtyping import Float
from PIL.Image import Image
from rich.progress import Progress
from torch import Tensor

from xai_core import files
from xai_core.checks import check_forward_passes
from xai_core.cli.loading import ModelOnDevice, constant_map_warnings_hidden
from xai_core.configurable import MADE_OF
from xai_core.data.image_names import stem
from xai_core.data.sources import Sample
from xai_core.errors import LayerError, OptionError, PluginError, UnknownExplainerError, UnsuitableError
from xai_core.explainer import Explainer
from xai_core.isolation.error_context import PluginCall
from xai_core.metric import MetricResult
from xai_core.plugins.creation import create_explainer, create_metric
from xai_core.plugins.registry import list_explainers, origin
from xai_core.report.results import Explanation, ImageResult, MapScore, PerturbationCurve
from xai_core.saliency import Saliency
from xai_core.visualization import overlays
from xai_core.visualization.photos import model_view

STEPS = 10
"""Steps of each perturbation curve. The RISE protocol uses 224 steps. Ten steps are enough for a first look."""
MOST_PIXELS = 500_000
"""Largest number of pixels that a method may send through the model per image: ten images of 224x224."""


class Demonstration:
    """Explains samples with every installed method that is compatible and fast enough, and scores the maps.

    Attributes
    ----------
    skipped
        The reason for each method that was skipped.
    metrics
        The metrics that score the maps.
    """

    def __init__(self, model: ModelOnDevice, bar: Progress) -> None:
        self.skipped: dict[str, str] = {}
        self.metrics = [create_metric(name, steps=STEPS) for name in ("deletion", "insertion")]
        self._model, self._bar = model, bar
        self._task = bar.add_task("")

    def run(self, samples: Sequence[Sample]) -> list[ImageResult]:
        """Return a result for each sample.

        Raises
        ------
        UnknownExplainerError
            If no explainer is installed.
        UnsuitableError
            If no installed explainer is compatible with the model.
        """
        methods = list_explainers()
        if not methods:
            raise UnknownExplainerError("no method is installed: run `pip install xai-core[all]`")
        self._bar.update(self._task, total=len(samples) * len(methods))
        names = files.distinct(stem(sample.id) for sample in samples)
        with constant_map_warnings_hidden():
            results = [self._result(sample, name, methods) for sample, name in zip(samples, names, strict=True)]
        if not any(result.explanations for result in results):
            reasons = "; ".join(f"{method}: {reason}" for method, reason in self.skipped.items())
            raise UnsuitableError(f"no installed method is compatible with {self._model.spec}: {reasons}")
        return results

    def _result(self, sample: Sample, name: str, methods: Sequence[str]) -> ImageResult:
        images = self._model.loaded.preprocess(sample.image)[None]
        photo = model_view(images[0], self._model.loaded.restore)
        [predicted] = self._model.predict(images)
        maps: dict[str, Saliency] = {}
        seconds: dict[str, float] = {}
        for method in methods:
            self._bar.update(self._task, description=f"{name}: {method}")
            if method not in self.skipped:
                try:
                    explainer = self._affordable(method, images)
                    start = time.perf_counter()
                    maps |= self._model.engine.explain(images, {method: explainer}, predicted.id)
                    seconds[method] = time.perf_counter() - start
                except (UnsuitableError, LayerError, OptionError, PluginError) as error:
                    self.skipped[method] = str(error)
            self._bar.advance(self._task)
        scores = self._model.engine.evaluate(images, maps, self.metrics)
        explanations = [_explanation(photo, method, maps[method], seconds[method], scores[method]) for method in maps]
        return ImageResult(sample.id, name, photo, predicted, explanations, _ground_truth(sample, photo))

    def _affordable(self, method: str, images: Float[Tensor, "1 C H W"]) -> Explainer:
        """Create an explainer, or raise UnsuitableError if it is composite, incompatible or too slow."""
        explainer = create_explainer(method)
        adapter = self._model.engine.adapter(images)
        explainer.needs(adapter)
        call = PluginCall("explainer", method, explainer, origin(explainer))
        passes = check_forward_passes(explainer.forward_passes(adapter), call)
        if not MADE_OF.isdisjoint(inspect.signature(type(explainer)).parameters):
            raise UnsuitableError(
                f"the demo does not run composite methods; use `xai explain --method {explainer.spec}`"
            )
        if passes * images[0, 0].numel() > MOST_PIXELS:
            raise UnsuitableError(f"needs {passes} forward passes per image; use `xai explain` to run it")
        return explainer


def _ground_truth(sample: Sample, photo: Image) -> Image | None:
    """Return the photo with the ground-truth mask, if the model receives the image uncropped at its own size."""
    if sample.mask is None or sample.mask.shape != (photo.height, photo.width):
        return None
    return overlays.overlay(photo, sample.mask.float())


def _explanation(
    photo: Image, method: str, saliency: Saliency, seconds: float, scores: Mapping[str, MetricResult]
) -> Explanation:
    return Explanation(
        method=method,
        overlay=overlays.overlay(photo, saliency.values[0]),
        seconds=seconds,
        constant=bool(saliency.constant[0]),
        scores={metric: _map_score(score) for metric, score in scores.items()},
        parts=[] if saliency.parts is None else overlays.part_overlays(photo, saliency.parts[0]),
    )


def _map_score(score: MetricResult) -> MapScore:
    curve = None
    if score.curve is not None and score.fractions is not None:
        curve = PerturbationCurve(score.fractions.tolist(), score.curve[0].tolist())
    return MapScore(score.values.tolist()[0], bool(score.higher_is_better), curve)
