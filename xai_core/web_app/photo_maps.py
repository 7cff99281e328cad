"""The maps of one photo: methods of a single pass together, and slower methods one by one."""

import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor

from xai_core.detection.listing import Detection
from xai_core.errors import ConstantMapWarning, XAIError
from xai_core.explainer import Explainer
from xai_core.isolation.error_context import message_with_notes
from xai_core.plugins.creation import create_explainer
from xai_core.predictions import Predictions
from xai_core.saliency import Saliency
from xai_core.spec import read_value
from xai_core.targets.target import TargetLike
from xai_core.targets.text import Text
from xai_core.visualization.placement import Placement
from xai_core.visualization.view import View
from xai_core.web_app.chosen_model import ChosenModel, Explained
from xai_core.web_app.found_in_photo import Found, chosen_target, found_in_photo


@dataclass(frozen=True)
class PhotoMaps:
    """A photo with the maps that are computed so far.

    Attributes
    ----------
    model
        The model.
    photo
        The photo.
    images
        The input of the model.
    predictions
        The classes with the highest scores, or None if the model has no class scores.
    found
        The detections or the regions that a user can choose from, the highest score or the largest region first.
    logit
        The logit of the text, or None if no text is explained.
    maps
        The map of each method.
    failures
        A message for each method that failed.
    pending
        The methods that are not computed yet.
    """

    model: ChosenModel
    photo: Image
    images: Float[Tensor, "1 C H W"]
    predictions: Predictions | None
    found: Sequence[Found] = ()
    logit: float | None = None
    maps: Mapping[str, Saliency] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    pending: Sequence[str] = ()

    @property
    def shown(self) -> Image:
        """The photo, or the model's input if the part of the photo that the model receives is not known."""
        return self.photo if self._view is None or self._placement is not None else self._view.photo(0)

    def box(self, detection: Detection) -> tuple[float, ...] | None:
        """Return the box of a detection in pixels of the photo, or None if it is not known."""
        size = self.images.shape[-2], self.images.shape[-1]
        return None if self._placement is None else self._placement.in_photo(detection.box, size)

    @property
    def _view(self) -> View | None:
        return next((saliency.view for saliency in self.maps.values()), None)

    @property
    def _placement(self) -> Placement | None:
        try:
            return None if self._view is None else self._view.placement(self.photo)
        except XAIError:
            return None


def explain_photo(
    model: ChosenModel, photo: Image, methods: Sequence[str], layer: str | None, target: int | str | None
) -> Iterator[PhotoMaps]:
    """Yield the maps of a photo each time that further methods are computed.

    Parameters
    ----------
    model
        The model.
    photo
        The photo, in RGB.
    methods
        Specs of methods.
    layer
        A layer for methods with a `layer` option, or None for the default of each method.
    target
        The id of the class, the description of the detection or the region, or the text. None for the predicted
        class, the best detection or the largest region.

    Raises
    ------
    TargetError
        If a detector detects nothing in the photo, or a word of the text is not known.
    """
    photo_maps, explained = _without_maps(model, photo, target)
    images = photo_maps.images
    failures: dict[str, str] = {}
    explainers: dict[str, Explainer] = {}
    for spec in methods:
        try:
            explainers[spec] = _created(spec, layer)
        except XAIError as error:
            failures[spec] = message_with_notes(error)
    maps: dict[str, Saliency] = {}
    groups = _groups(model, images, explainers)
    for number, group in enumerate(groups):
        pending = [spec for later in groups[number:] for spec in later]
        yield replace(photo_maps, maps=_ordered(maps, methods), failures={**failures}, pending=pending)
        for spec, saliency in _explained(model, images, group, explained, failures):
            maps[spec] = saliency
    yield replace(photo_maps, maps=_ordered(maps, methods), failures=failures)


def _without_maps(model: ChosenModel, photo: Image, target: int | str | None) -> tuple[PhotoMaps, TargetLike]:
    """Return a photo with what the model finds in it, and the target for `Engine.explain`."""
    images = model.loaded.preprocess(photo)[None]
    predictions = model.engine.predict(images) if model.classes else None
    if model.explained is Explained.TEXT:
        text = Text(str(target))
        return PhotoMaps(model, photo, images, predictions, logit=float(model.engine.score(images, text))), text
    found = found_in_photo(model, images)
    return PhotoMaps(model, photo, images, predictions, found), chosen_target(found, str(target)) if found else target


def _created(spec: str, layer: str | None) -> Explainer:
    """Create an explainer at a layer, if it has this option."""
    explainer = create_explainer(spec)
    if layer is None or "layer" not in inspect.signature(type(explainer)).parameters:
        return explainer
    return create_explainer(spec, layer=read_value(layer))


def _groups(
    model: ChosenModel, images: Float[Tensor, "1 C H W"], explainers: Mapping[str, Explainer]
) -> list[dict[str, Explainer]]:
    """Return the explainers that share a single pass, followed by each of the others alone."""
    adapter = model.engine.adapter(images)
    fast: dict[str, Explainer] = {}
    slow: dict[str, Explainer] = {}
    for spec, explainer in explainers.items():
        try:
            is_fast = explainer.forward_passes(adapter) <= 1
        except Exception:  # the engine reports the error of a plugin
            is_fast = False
        (fast if is_fast else slow)[spec] = explainer
    return [group for group in (fast, *({spec: explainer} for spec, explainer in slow.items())) if group]


def _explained(
    model: ChosenModel,
    images: Float[Tensor, "1 C H W"],
    explainers: Mapping[str, Explainer],
    target: TargetLike,
    failures: dict[str, str],
) -> Iterator[tuple[str, Saliency]]:
    """Yield the map of each method. If a method fails, the methods run one by one."""
    try:
        with constant_map_warnings_hidden():
            yield from model.engine.explain(images, explainers, target).items()
    except Exception as error:
        if len(explainers) > 1:
            for spec, explainer in explainers.items():
                yield from _explained(model, images, {spec: explainer}, target, failures)
        else:
            failures.update(dict.fromkeys(explainers, plain_message(error)))


def plain_message(error: Exception) -> str:
    """Return the message of an error. Errors that are not from xai-core begin with their type."""
    message = message_with_notes(error)
    return message if isinstance(error, XAIError) and message else f"{type(error).__name__}: {message}"


def _ordered(maps: Mapping[str, Saliency], methods: Sequence[str]) -> dict[str, Saliency]:
    return {spec: maps[spec] for spec in methods if spec in maps}


@contextmanager
def constant_map_warnings_hidden() -> Iterator[None]:
    """Hide warnings about constant maps, because the app marks these maps."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantMapWarning)
        yield
