"""Reads the output of a model for images: classes, detections, segments, and the scores of targets."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from xai_core.data.sources import LoadedModel
from xai_core.detection.listing import Detection
from xai_core.explained_model import ExplainedModel
from xai_core.options import check_integer, check_number
from xai_core.plugins.registry import in_own_plugins
from xai_core.predictions import Predictions
from xai_core.segments import Segment
from xai_core.several_inputs import SeveralInputs
from xai_core.targets.class_names import named_classes
from xai_core.targets.target import TargetLike
from xai_core.targets.text import Encode, encoded_texts


class ModelOutputs:
    """Reads the output of one model. `Engine` inherits these methods, which compute no maps.

    Parameters
    ----------
    explained
        The model.
    embed_texts
        Returns the embeddings of texts. None if the model has no tokenizer.
    """

    def __init__(self, explained: ExplainedModel, embed_texts: Encode | None) -> None:
        self.plugins = explained.plugins
        self._explained = explained
        self._inputs = SeveralInputs(explained)
        self._embed_texts = embed_texts

    @property
    def loaded(self) -> LoadedModel | None:
        """The `LoadedModel` that the engine was created with, or None if it was created with a module."""
        return self._explained.loaded

    @property
    def class_names(self) -> Sequence[str] | None:
        """The name of each class, or None if the engine was created with a module, which has no class names."""
        return None if self.loaded is None else self.loaded.class_names

    @in_own_plugins
    def predict(self, images: Float[Tensor, "B C *size"], top: int = 5) -> Predictions:
        """Return the `top` classes with the highest scores of each image, with their names and probabilities.

        Raises
        ------
        ModelOutputError
            If the model's output contains no class scores.
        OptionError
            If `top` is not a positive integer, or there is not one name per class.
        """
        check_integer("top", top, 1)
        return ExplainedModel.predictions(*self._inputs.of(images)[0], top)

    @in_own_plugins
    def detect(self, images: Float[Tensor, "B C H W"], threshold: float = 0.5) -> list[list[Detection]]:
        """Return the objects that a detector finds in each image, the highest score first.

        To explain one of them, pass `xai_core.Box(detection.box, detection.label)` as the target of `explain`.

        Parameters
        ----------
        images
            As for `explain`.
        threshold
            The lowest score, in [0,1].

        Raises
        ------
        TargetError
            If the model is not a detector whose output is recognized.
        OptionError
            If the threshold is not in [0,1].
        MissingDependencyError
            If the output contains several detections of one object, and torchvision is not installed.
        """
        check_number("threshold", threshold, minimum=0, maximum=1)
        return ExplainedModel.detections(*self._inputs.of(images)[0], threshold)

    @in_own_plugins
    def segment(self, images: Float[Tensor, "B C *size"]) -> list[list[Segment]]:
        """Return the classes to which a segmentation model assigns pixels of each image, the most pixels first.

        To explain one of them, pass `xai_core.Region(segment.label)` as the target of `explain`.

        Raises
        ------
        TargetError
            If the model's output contains no scores of pixels.
        OptionError
            If there is not one name per class.
        """
        return ExplainedModel.segments(*self._inputs.of(images)[0])

    @in_own_plugins
    def score(self, images: Float[Tensor, "B C *size"], target: TargetLike = None) -> Float[Tensor, "B *targets"]:
        """Return the number of each image that a target explains, such as the logit of a class or of a text.

        Parameters
        ----------
        images, target
            As for `explain`.

        Returns
        -------
        Tensor
            [B], or [B,T] for T targets per image.

        Raises
        ------
        TargetError
            If the target is not defined for an image.
        ModelOutputError
            If the model's output does not contain what the target reads.
        """
        return ExplainedModel.score(*self._inputs.of(images)[0], self._known(target))

    def _known(self, target: TargetLike) -> TargetLike:
        """Return a target with class ids in place of names, and embeddings in place of texts."""
        return encoded_texts(named_classes(target, self.class_names), self._embed_texts)
