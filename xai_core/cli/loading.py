"""A model on its device, with its predictions and its classes by name."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import typer
from jaxtyping import Float
from torch import Tensor

from xai_core.data.class_names import class_name, require_names_of
from xai_core.data.sources import LoadedModel
from xai_core.detection.listing import Detection
from xai_core.engine import Engine
from xai_core.errors import ConstantMapWarning, TargetError
from xai_core.image_inputs import accept_images
from xai_core.model.runtimes import require_values
from xai_core.plugins.creation import load_model
from xai_core.report.results import Prediction
from xai_core.targets.binding import targets_of


@dataclass(frozen=True, eq=False)
class ModelOnDevice:
    """A model loaded from `spec`, and its engine on `device`."""

    spec: str
    device: torch.device
    loaded: LoadedModel
    engine: Engine

    def predict(self, images: Float[Tensor, "B C H W"], target: int | None = None) -> list[Prediction]:
        """Return the predicted class of each image, or the class `target`, with its probability.

        If the model is a detector and there is no target, the best detection is returned, with its box in pixels of
        the image.
        """
        images = accept_images(images, self.engine.model)
        adapter = self.engine.adapter(images)
        if target is None and adapter.score_reader.is_detector:
            return [_best(found) for found in self.engine.detect(images, 0)]
        with torch.no_grad():
            output = self.engine.model(images)
            [bound], _ = targets_of(target, output, adapter.score_reader, len(images))
            require_names_of(adapter.scores(output).shape[1], self.loaded.class_names)
            probabilities = bound.model_score(output, kind="probability")
        assert bound.ids is not None
        return [
            Prediction(class_id, self.class_name(class_id), probability)
            for class_id, probability in zip(bound.ids.tolist(), probabilities.tolist(), strict=True)
        ]

    def class_name(self, class_id: int) -> str:
        """Return the name of a class, or `class N` if the model has no name for it."""
        return class_name(class_id, self.loaded.class_names)


def _best(found: Sequence[Detection]) -> Prediction:
    """Return the detection with the highest score."""
    if not found:
        raise TargetError("the detector detects no object in this image, so there is none to explain")
    return Prediction(found[0].label, found[0].name, found[0].score, found[0].box)


def load(spec: str, device: str | None) -> ModelOnDevice:
    """Load a model onto a device, by default onto a GPU if one is available."""
    torch_device = select_device(device)
    loaded = load_model(spec)
    require_values(loaded.model)
    loaded.model.to(torch_device)
    return ModelOnDevice(spec, torch_device, loaded, Engine(loaded))


def select_device(name: str | None) -> torch.device:
    """Return the device of that name, by default a GPU if one is available.

    Raises
    ------
    typer.BadParameter
        If PyTorch has no such device.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise typer.BadParameter(str(error).partition("\n")[0], param_hint="--device") from None
    return device


@contextmanager
def constant_map_warnings_hidden() -> Iterator[None]:
    """Hide warnings about constant maps, because the commands mark these maps in their output."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantMapWarning)
        yield
