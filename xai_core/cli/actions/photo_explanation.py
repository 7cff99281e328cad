"""Maps of one photo for its targets, with every method that is compatible with the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor

from xai_core.checks import check_forward_passes
from xai_core.cli.actions.method_maps import maps_of_each
from xai_core.cli.actions.photo_detections import (
    THRESHOLD,
    BoxConversion,
    best_detections,
    box_measure,
    unmatched,
)
from xai_core.cli.actions.photo_segments import region_targets
from xai_core.cli.actions.photo_targets import NotInPhotoError, PhotoTarget, PhotoTargets, together
from xai_core.cli.actions.photo_texts import text_targets
from xai_core.cli.loading import ModelOnDevice
from xai_core.data.images import read_image
from xai_core.errors import PluginContractError, TargetError, UnsuitableError
from xai_core.explainer import Explainer
from xai_core.isolation.error_context import PluginCall, message_with_notes
from xai_core.plugins.registry import origin
from xai_core.predictions import Predictions
from xai_core.report.method_groups import method_group
from xai_core.report.results import Prediction
from xai_core.saliency import Saliency
from xai_core.targets.target import TargetLike
from xai_core.visualization.view import View

PREDICTED = 5
"""Number of predicted classes that are recorded for each photo."""


TargetMaps = tuple[PhotoTarget, Mapping[str, Saliency]]
"""A target, and the map of each method for it."""


class Photo(NamedTuple):
    """A photo that was read.

    Attributes
    ----------
    path
        The file.
    name
        Its name in the names of the written files.
    digest
        The SHA-256 of the file.
    image
        The image, upright in RGB.
    scale
        Pixels of the photo per pixel of the image. It is above 1 if the image was scaled down.
    """

    path: Path
    name: str
    digest: str
    image: Image
    scale: float = 1


def read_photo(path: Path, name: str, digest: str) -> Photo:
    """Read the image of a photo."""
    read = read_image(path)
    return Photo(path, name, digest, read.image, max(read.stored) / max(read.image.size))


class PhotoMap(NamedTuple):
    """The map of one method for one target of a photo. `probability` is None for contrasts, regions and texts."""

    method: str
    group: str
    target: PhotoTarget
    probability: float | None
    saliency: Saliency


@dataclass(frozen=True)
class ExplainedPhoto:
    """A photo with its maps.

    Attributes
    ----------
    photo
        The photo.
    shown
        The image on which the maps are drawn, or None for the model's input.
    predictions
        The predicted classes or the detections, the most probable first, or the regions, the largest first.
    maps
        The maps, target by target.
    skipped
        The reason for each method that is not compatible with the model.
    failures
        A message for each method that failed.
    """

    photo: Photo
    shown: Image | None
    predictions: Sequence[Prediction]
    maps: Sequence[PhotoMap]
    skipped: Mapping[str, str]
    failures: Sequence[str]


@dataclass
class PhotoExplainer:
    """Explains photos one by one.

    Attributes
    ----------
    model
        The model.
    explainers
        The explainers, by spec.
    targets
        The targets of every photo.
    crop
        Whether to draw maps on the model's input instead of the photo.
    skipped
        The reason for each method that is not compatible with the model.
    groups
        The group of each other method: a key of `method_groups.GROUPS`.
    """

    model: ModelOnDevice
    explainers: Mapping[str, Explainer]
    targets: PhotoTargets
    crop: bool
    skipped: dict[str, str] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    _checked: bool = False

    def explain(self, photo: Photo) -> ExplainedPhoto:
        """Return the maps of a photo.

        Raises
        ------
        UnsuitableError
            If no method is compatible with the model.
        NotInPhotoError
            If the model is a detector or a segmentation model, and the photo contains nothing to explain.
        """
        images = self.model.loaded.preprocess(photo.image)[None]
        if not self._checked:
            self._skip_unsuitable(images)
        failures: list[str] = []
        reader = self.model.engine.adapter(images).score_reader
        if self.model.loaded.tokenizer is not None:
            predictions: list[Prediction] = []
            explained = self._of_targets(images, text_targets(self.model.engine, images, self.targets), failures)
        elif self.targets.texts:
            raise TargetError("--text needs a model that compares images with texts, such as shapes-clip")
        elif self.targets.boxes or reader.is_detector:
            predictions, explained = self._detected(photo, images, failures)
        elif reader.is_segmenter:
            [found] = self.model.engine.segment(images)
            predictions = [
                Prediction(each.label, each.name, None, share=each.share) for each in found if not each.is_background
            ]
            explained = self._of_targets(images, region_targets(found, self.targets, failures), failures)
        else:
            explain = self._predicted if self.targets.only_predicted else self._selected
            classes, explained = explain(images, failures)
            predictions = predicted_classes(classes)
        maps = [
            PhotoMap(method, self.groups[method], target, _probability(saliency, target), saliency)
            for target, of_target in explained
            for method, saliency in of_target.items()
        ]
        return ExplainedPhoto(photo, self._shown(photo, maps), predictions, maps, self.skipped, failures)

    def _predicted(self, images: Float[Tensor, "1 C H W"], failures: list[str]) -> tuple[Predictions, list[TargetMaps]]:
        """Return the predictions, and the maps of the predicted class, from one forward pass."""
        [maps] = self._of_each(images, None, 1, failures)
        view = next((saliency.view for saliency in maps.values()), None)
        predictions = None if view is None else view.predictions(PREDICTED)
        if predictions is None:
            predictions = self.model.engine.predict(images, PREDICTED)
        [target] = self.targets.of(predictions)
        return predictions, [(target, maps)]

    def _selected(self, images: Float[Tensor, "1 C H W"], failures: list[str]) -> tuple[Predictions, list[TargetMaps]]:
        """Return the predictions, and the maps of the selected targets."""
        predictions = self.model.engine.predict(images, max(PREDICTED, self.targets.top))
        return predictions, self._of_targets(images, self.targets.of(predictions), failures)

    def _of_targets(
        self, images: Float[Tensor, "1 C H W"], targets: Sequence[PhotoTarget], failures: list[str]
    ) -> list[TargetMaps]:
        """Return the maps of each target."""
        explained: list[TargetMaps] = []
        for value, group in together(targets):
            explained += zip(group, self._of_each(images, value, len(group), failures), strict=True)
        return explained

    def _detected(
        self, photo: Photo, images: Float[Tensor, "1 C H W"], failures: list[str]
    ) -> tuple[list[Prediction], list[TargetMaps]]:
        """Return the detections, and the maps of the selected ones."""
        engine, targets = self.model.engine, self.targets
        if targets.ids or targets.contrasts:
            raise TargetError(
                "--target and --contrast need class scores, and this model is a detector; --top selects its best "
                "detections, and --box selects a detection"
            )
        [found] = engine.detect(images, 0)
        conversion = BoxConversion.of(View(images, loaded=self.model.loaded), photo.image, photo.scale)
        explained: list[TargetMaps] = []
        for box in [*best_detections(found, targets.top, conversion), *map(conversion.in_input, targets.boxes)]:
            try:
                [maps] = self._of_each(images, box, 1, failures)
            except TargetError as error:
                failures.append(unmatched(box, found, conversion) or str(error))
                continue
            if maps:
                earlier = [target for target, _ in explained]
                measure = box_measure(next(iter(maps.values())))
                explained.append((conversion.target(box, measure, self.model.loaded.class_names, earlier), maps))
        if not explained:
            raise NotInPhotoError("; ".join(failures))
        return [conversion.prediction(each) for each in found if each.score >= THRESHOLD], explained

    def _skip_unsuitable(self, images: Float[Tensor, "1 C H W"]) -> None:
        """Record the group of each method, or why it is not compatible with the model."""
        self._checked = True
        adapter = self.model.engine.adapter(images)
        for spec, explainer in self.explainers.items():
            try:
                explainer.needs(adapter)
                call = PluginCall("explainer", spec, explainer, origin(explainer))
                passes = check_forward_passes(explainer.forward_passes(adapter), call)
                self.groups[spec] = method_group(explainer, adapter, passes)
            except (UnsuitableError, PluginContractError) as error:
                self.skipped[spec] = str(error)
        if len(self.skipped) == len(self.explainers):
            reasons = "; ".join(f"{spec}: {reason}" for spec, reason in self.skipped.items())
            several = "no method is compatible with the model: " if len(self.skipped) > 1 else ""
            raise UnsuitableError(several + reasons)

    def _of_each(
        self, images: Tensor, target: TargetLike, count: int, failures: list[str]
    ) -> list[dict[str, Saliency]]:
        """Return the maps of all methods, for each of several targets."""
        explainers = {spec: each for spec, each in self.explainers.items() if spec not in self.skipped}
        maps, errors = maps_of_each(self.model.engine, images, explainers, target)
        if len(explainers) == 1:
            for error in errors.values():
                raise error
        failures += [f"{spec}: {message_with_notes(error)}" for spec, error in errors.items()]
        each = {method: saliency.each for method, saliency in maps.items()}
        return [{method: singles[number] for method, singles in each.items()} for number in range(count)]

    def _shown(self, photo: Photo, maps: Sequence[PhotoMap]) -> Image | None:
        """Return the photo, or None if maps are drawn on the model's input."""
        if self.crop or not maps or maps[0].saliency.view is None:
            return None
        try:
            maps[0].saliency.view.placement(photo.image)
        except UnsuitableError:
            return None
        return photo.image


def predicted_classes(predictions: Predictions) -> list[Prediction]:
    """Return the predicted classes of one image, the most probable first."""
    columns = (predictions.ids[0].tolist(), predictions.names[0], predictions.probabilities[0].tolist())
    return [Prediction(*row) for row in zip(*columns, strict=True)]


def _probability(saliency: Saliency, target: PhotoTarget) -> float | None:
    """Return the probability of the class or the detection that a map explains."""
    if target.class_id is None or target.probability is not None or saliency.view is None:
        return target.probability
    scores = saliency.view.predictions(10**9)
    if scores is None:
        return None
    return float(scores.probabilities[0, scores.ids[0] == target.class_id])
