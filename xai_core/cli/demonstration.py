"""Explaining samples by every installed method, and scoring each map: what `xai demo` does."""

import inspect
import time
from collections.abc import Mapping, Sequence

from jaxtyping import Float
from PIL.Image import Image
from rich.progress import Progress
from torch import Tensor

from xai_core import files
from xai_core.cli.loading import Subject, flat_maps_shown
from xai_core.configurable import MADE_OF
from xai_core.data.sources import Sample
from xai_core.errors import LayerError, OptionError, UnknownExplainerError, UnsuitableError
from xai_core.explainer import Explainer
from xai_core.metric import MetricResult
from xai_core.plugins.registry import create_explainer, create_metric, list_explainers
from xai_core.report import pictures
from xai_core.report.results import Curve, Explained, Result, Scored
from xai_core.saliency import Saliency

STEPS = 10
"""Of each curve: enough for a look, where the RISE protocol has 224."""
MOST_PIXELS = 500_000
"""Of a method, through the model for one image: ten forwards of 224x224. What takes more is left for `xai explain`."""


class Demonstration:
    """Explains and scores samples by every installed method that suits the model, and takes no minutes.

    Attributes
    ----------
    left_out
        The methods that turned out not to be for this model, or for a demonstration, each with the reason.
    metrics
        The metrics that the maps are scored by.
    """

    def __init__(self, subject: Subject, bar: Progress) -> None:
        self.left_out: dict[str, str] = {}
        self.metrics = [create_metric(name, steps=STEPS) for name in ("deletion", "insertion")]
        self._subject, self._bar = subject, bar
        self._task = bar.add_task("")

    def run(self, samples: Sequence[Sample]) -> list[Result]:
        """Give a result for each sample.

        Raises
        ------
        UnknownExplainerError
            Where no explainer is installed.
        UnsuitableError
            Where none suits the model.
        """
        methods = list_explainers()
        if not methods:
            raise UnknownExplainerError("no explainer is installed; `pip install xai-core[all]` brings some")
        self._bar.update(self._task, total=len(samples) * len(methods))
        names = files.distinct(pictures.stem(sample.id) for sample in samples)
        with flat_maps_shown():
            results = [self._result(sample, name, methods) for sample, name in zip(samples, names, strict=True)]
        if not any(result.explained for result in results):
            reasons = "; ".join(f"{method}: {reason}" for method, reason in self.left_out.items())
            raise UnsuitableError(f"no installed method suits {self._subject.spec}: {reasons}")
        return results

    def _result(self, sample: Sample, name: str, methods: Sequence[str]) -> Result:
        images = self._subject.loaded.preprocess(sample.image)[None]
        photo = pictures.seen(self._subject.loaded, images[0])
        [predicted] = self._subject.predict(images)
        maps: dict[str, Saliency] = {}
        seconds: dict[str, float] = {}
        for method in methods:
            self._bar.update(self._task, description=f"{name}: {method}")
            if method not in self.left_out:
                try:
                    explainer = self._affordable(method, images)
                    start = time.perf_counter()
                    maps |= self._subject.engine.explain(images, {method: explainer}, predicted.id)
                    seconds[method] = time.perf_counter() - start
                except (UnsuitableError, LayerError, OptionError) as error:
                    self.left_out[method] = str(error)
            self._bar.advance(self._task)
        scores = self._subject.engine.evaluate(images, maps, self.metrics)
        explained = [_explained(photo, method, maps[method], seconds[method], scores[method]) for method in maps]
        truth = None if sample.mask is None else self._truth(sample, photo)
        return Result(sample.id, name, photo, predicted, explained, truth)

    def _truth(self, sample: Sample, photo: Image) -> Image | None:
        """The mask over the photo, where the model sees the image as it is."""
        assert sample.mask is not None
        seen_whole = sample.mask.shape == (photo.height, photo.width)
        return pictures.overlay(photo, sample.mask.float()) if seen_whole else None

    def _affordable(self, method: str, images: Float[Tensor, "1 C H W"]) -> Explainer:
        """Make an explainer, unless it is made of others or takes too long."""
        explainer = create_explainer(method)
        adapter = self._subject.engine.adapter(images)
        explainer.needs(adapter)
        forwards = explainer.forward_passes(adapter)
        if MADE_OF.isdisjoint(inspect.signature(type(explainer)).parameters):
            if forwards * images[0, 0].numel() <= MOST_PIXELS:
                return explainer
            raise UnsuitableError(f"takes {forwards} forwards a photo; try `xai explain --method {method}`")
        raise UnsuitableError(f"made of other methods; try `xai explain --method '{explainer.spec}'`")


def _explained(
    photo: Image, method: str, saliency: Saliency, seconds: float, scores: Mapping[str, MetricResult]
) -> Explained:
    return Explained(
        method=method,
        overlay=pictures.overlay(photo, saliency.values[0]),
        seconds=seconds,
        flat=bool(saliency.constant[0]),
        scores={metric: _scored(score) for metric, score in scores.items()},
        parts=[] if saliency.parts is None else pictures.overlays(photo, saliency.parts[0]),
    )


def _scored(score: MetricResult) -> Scored:
    curve = None
    if score.curve is not None and score.fractions is not None:
        curve = Curve(score.fractions.tolist(), score.curve[0].tolist())
    return Scored(score.values.tolist()[0], bool(score.higher_is_better), curve)
