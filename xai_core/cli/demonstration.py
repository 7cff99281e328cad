"""Explaining samples by every installed method, and scoring each map: what `xai demo` does."""

import time
from collections.abc import Sequence

from jaxtyping import Float
from PIL.Image import Image
from rich.progress import Progress
from torch import Tensor

from xai_core.cli.loading import Subject, flat_maps_shown
from xai_core.errors import LayerError, OptionError, UnknownExplainerError, UnsuitableError
from xai_core.metric import Score
from xai_core.registry import create_explainer, create_metric, list_explainers
from xai_core.report import files, pictures
from xai_core.report.results import Curve, Explained, Result, Scored
from xai_core.source import Sample

STEPS = 56
"""Of each curve: enough for a look, and a quarter of the forwards of the RISE protocol's 224."""


class Demonstration:
    """Explains and scores samples by every installed method that suits the model.

    Attributes
    ----------
    unsuited
        The methods that turned out not to be for this model, each with the reason.
    metrics
        The metrics that the maps are scored by.
    """

    def __init__(self, subject: Subject, bar: Progress) -> None:
        self.unsuited: dict[str, str] = {}
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
            reasons = "; ".join(f"{method}: {reason}" for method, reason in self.unsuited.items())
            raise UnsuitableError(f"no installed method suits {self._subject.spec}: {reasons}")
        return results

    def _result(self, sample: Sample, name: str, methods: Sequence[str]) -> Result:
        images = self._subject.loaded.preprocess(sample.image)[None]
        photo = pictures.seen(self._subject.loaded, images[0])
        [predicted] = self._subject.predict(images)
        explained = []
        for method in methods:
            self._bar.update(self._task, description=f"{name}: {method}")
            if method not in self.unsuited:
                try:
                    explained.append(self._explained(images, photo, method, predicted.id))
                except (UnsuitableError, LayerError, OptionError) as error:
                    self.unsuited[method] = str(error)
            self._bar.advance(self._task)
        return Result(sample.id, name, photo, predicted, explained)

    def _explained(self, images: Float[Tensor, "1 C H W"], photo: Image, method: str, target: int) -> Explained:
        explainer = create_explainer(method)
        start = time.perf_counter()
        [saliency] = self._subject.engine.explain(images, explainer, target).values()
        seconds = time.perf_counter() - start
        scores = self._subject.engine.evaluate(images, {method: saliency}, self.metrics)[method]
        return Explained(
            method=method,
            overlay=pictures.overlay(photo, saliency.values[0]),
            seconds=seconds,
            flat=bool(saliency.degenerate[0]),
            scores={metric: _scored(score) for metric, score in scores.items()},
        )


def _scored(score: Score) -> Scored:
    curve = None
    if score.curve is not None and score.fractions is not None:
        curve = Curve(score.fractions.tolist(), score.curve[0].tolist())
    return Scored(score.values.tolist()[0], score.higher_is_better, curve)
