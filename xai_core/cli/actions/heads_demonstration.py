"""Attention heads of a model that returns embeddings, for `xai demo`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from xai_core import files
from xai_core.cli.actions.demonstration import explanation_of
from xai_core.cli.loading import ModelOnDevice, load
from xai_core.data.image_names import stem
from xai_core.data.sources import Sample
from xai_core.errors import FileError, MissingDependencyError
from xai_core.plugins.registry import list_explainers
from xai_core.report.method_groups import ATTENTION
from xai_core.report.results import ImageResult
from xai_core.visualization.photos import model_view

MODEL, DATA = "dinov2-small:size=140", "photos:astronaut"
"""A model without classes, with few patches to be fast, and the photograph that it is shown on."""
METHOD = "head-attention"


@dataclass
class HeadsDemonstration:
    """Shows the attention of each head. Without classes, there are no predictions and no scores.

    Attributes
    ----------
    model
        The model on its device.
    report
        Function that receives a description of the current work.
    skipped
        Empty, because the only method is compatible.
    """

    model: ModelOnDevice
    report: Callable[[str], None]
    skipped: Mapping[str, str] = field(default_factory=dict)

    def run(self, samples: Sequence[Sample]) -> Iterator[ImageResult]:
        """Yield a result for each sample."""
        names = files.distinct(stem(sample.id) for sample in samples)
        for sample, name in zip(samples, names, strict=True):
            self.report(f"{name}: attention heads")
            images = self.model.loaded.preprocess(sample.image)[None]
            photo = model_view(images[0], self.model.loaded.restore)
            [saliency] = self.model.engine.explain(images, METHOD, costs=True).values()
            explanations = [explanation_of(photo, METHOD, ATTENTION, saliency, {})]
            yield ImageResult(sample.id, name, photo, predicted=None, explanations=explanations)


def installed_model(device: str | None) -> ModelOnDevice | None:
    """Return the model, or None if its weights or the method are not installed."""
    if METHOD not in list_explainers():
        return None
    try:
        return load(MODEL, device)
    except (FileError, MissingDependencyError):
        return None
