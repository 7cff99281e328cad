"""Maps and scores of samples with every installed method that is compatible and fast enough, for `xai demo`."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain

from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor

from xai_core import files
from xai_core.checks import check_forward_passes
from xai_core.cli.actions.demo_target import explained_target
from xai_core.cli.actions.method_maps import METHOD_ERRORS, maps_of_each
from xai_core.cli.loading import ModelOnDevice, constant_map_warnings_hidden
from xai_core.configurable import MADE_OF
from xai_core.data.ground_truth import model_mask
from xai_core.data.image_names import stem
from xai_core.data.sources import Sample
from xai_core.errors import (
    CroppedGroundTruthError,
    InputShapeError,
    NoGroundTruthError,
    UnknownExplainerError,
    UnsuitableError,
)
from xai_core.explainer import Explainer
from xai_core.isolation.error_context import PluginCall, message_with_notes
from xai_core.metric import Metric, MetricResult
from xai_core.plugins.creation import create_explainer, create_metric
from xai_core.plugins.registry import list_explainers, origin
from xai_core.report.method_groups import MANY_PASSES, method_group
from xai_core.report.results import Explanation, ImageResult, MapScore, PerturbationCurve
from xai_core.saliency import Saliency
from xai_core.targets.box_measure import BoxMeasure
from xai_core.targets.target import BoundTarget, TargetLike
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
    groups
        The group of each method that was not skipped.
    metrics
        The metrics that score the maps of every image.
    """

    def __init__(self, model: ModelOnDevice, report: Callable[[str], None]) -> None:
        self.skipped: dict[str, str] = {}
        self.groups: dict[str, str] = {}
        self.metrics: list[Metric] = [create_metric(name, steps=STEPS) for name in ("deletion", "insertion")]
        self._with_ground_truth = [*self.metrics, create_metric("relevance-mass"), create_metric("pointing-game")]
        self._model, self._report = model, report
        self._explainers: dict[str, Explainer] = {}

    def run(self, samples: Sequence[Sample]) -> Iterator[ImageResult]:
        """Yield a result for each sample.

        Raises
        ------
        UnknownExplainerError
            If no explainer is installed.
        UnsuitableError
            If no installed explainer is compatible with the model.
        """
        names = files.distinct(stem(sample.id) for sample in samples)
        for sample, name in zip(samples, names, strict=True):
            with constant_map_warnings_hidden():
                yield self._result(sample, name)

    def _result(self, sample: Sample, name: str) -> ImageResult:
        loaded = self._model.loaded
        images = loaded.preprocess(sample.image)[None]
        photo = model_view(images[0], loaded.restore)
        if not self._explainers:
            self._select(images)
        predicted, target = explained_target(self._model, images, sample.text)
        maps = self._maps(images, target, name)
        mask = self._mask(sample)
        self._report(f"{name}: scores")
        scores = self._scores(images, maps, mask)
        return ImageResult(
            id=sample.id,
            file=name,
            photo=photo,
            predicted=predicted,
            explanations=[
                explanation_of(photo, method, self.groups[method], maps[method], scores[method]) for method in maps
            ],
            ground_truth=None if mask is None else overlays.overlay(photo, mask.float()),
            label=None if sample.target is None or predicted.id is None else self._model.class_name(sample.target),
        )

    def _select(self, images: Float[Tensor, "1 C H W"]) -> None:
        """Select the methods. All others are skipped."""
        methods = list_explainers()
        if not methods:
            raise UnknownExplainerError("no method is installed: run `pip install xai-core[all]`")
        for method in methods:
            try:
                self._explainers[method] = self._affordable(method, images)
            except METHOD_ERRORS as error:
                self.skipped[method] = str(error)
        self._require_methods()

    def _require_methods(self) -> None:
        if not self._explainers:
            reasons = "; ".join(f"{method}: {reason}" for method, reason in self.skipped.items())
            raise UnsuitableError(f"no installed method is compatible with {self._model.spec}: {reasons}")

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
        self.groups[method] = method_group(explainer, adapter, passes)
        return explainer

    def _maps(self, images: Tensor, target: TargetLike, name: str) -> Mapping[str, Saliency]:
        """Return the maps of all methods, in the order of the methods. Methods of one pass share it."""
        slow = [method for method in self._explainers if self.groups[method] == MANY_PASSES]
        shared = [method for method in self._explainers if method not in slow]
        maps: dict[str, Saliency] = {}
        for methods in filter(None, chain([shared], ([method] for method in slow))):
            self._report(f"{name}: {methods[0] if len(methods) == 1 else 'methods of one pass'}")
            explainers = {method: self._explainers[method] for method in methods}
            own, failures = maps_of_each(self._model.engine, images, explainers, target)
            maps |= own
            self.skipped |= {method: message_with_notes(error) for method, error in failures.items()}
        self._explainers = {method: each for method, each in self._explainers.items() if method in maps}
        self._require_methods()
        return {method: maps[method] for method in self._explainers}

    def _scores(
        self, images: Tensor, maps: Mapping[str, Saliency], mask: Tensor | None
    ) -> Mapping[str, Mapping[str, MetricResult]]:
        """Return the scores of each method. Equal maps are scored once."""
        first: dict[bytes, str] = {}
        equal = {
            method: first.setdefault(saliency.values.cpu().numpy().tobytes(), method)
            for method, saliency in maps.items()
        }
        distinct = {method: maps[method] for method in first.values()}
        metrics, masks = (self.metrics, None) if mask is None else (self._with_ground_truth, mask[None])
        scores = self._model.engine.evaluate(images, distinct, metrics, masks)
        return {method: scores[equal[method]] for method in maps}

    def _mask(self, sample: Sample) -> Tensor | None:
        """Return the ground-truth mask at the model's input size, if it is known."""
        try:
            return model_mask(self._model.loaded, sample)
        except (UnsuitableError, NoGroundTruthError, CroppedGroundTruthError, InputShapeError):
            return None


def explanation_of(
    photo: Image, method: str, group: str, saliency: Saliency, scores: Mapping[str, MetricResult]
) -> Explanation:
    """Return the explanation of the first image of a batch, with the scores of its map."""
    assert saliency.cost is not None
    overlay = overlays.overlay(photo, saliency.values[0])
    measure = saliency.target.measure if isinstance(saliency.target, BoundTarget) else None
    return Explanation(
        method=method,
        group=group,
        overlay=overlays.with_box(overlay, measure.boxes[0].tolist()) if isinstance(measure, BoxMeasure) else overlay,
        seconds=saliency.cost.seconds,
        constant=bool(saliency.constant[0]),
        scores={metric: _map_score(score) for metric, score in scores.items()},
        parts=[] if saliency.parts is None else overlays.part_overlays(photo, saliency.parts[0]),
    )


def _map_score(score: MetricResult) -> MapScore:
    curve = None
    if score.curve is not None and score.fractions is not None:
        curve = PerturbationCurve(score.fractions.tolist(), score.curve[0].tolist())
    return MapScore(score.values.tolist()[0], bool(score.higher_is_better), curve)
