"""A model on its device, with what a command asks of it: predictions, and classes by name."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import typer
from jaxtyping import Float
from torch import Tensor

from xai_core.checks import accept
from xai_core.data.sources import LoadedModel
from xai_core.engine import Engine
from xai_core.errors import ConstantMapWarning, TargetError
from xai_core.plugins.registry import load_model
from xai_core.report.results import Prediction
from xai_core.spec import suggest
from xai_core.targets.target import targets_of


@dataclass(frozen=True, eq=False)
class Subject:
    """The model to be explained, loaded from `spec`, and its engine on `device`."""

    spec: str
    device: torch.device
    loaded: LoadedModel
    engine: Engine

    def predict(self, images: Float[Tensor, "B C H W"], target: int | None = None) -> list[Prediction]:
        """Give the predicted class, or the class `target`, of each image."""
        images = accept(images, self.engine.model)
        adapter = self.engine.adapter(images)
        with torch.no_grad():
            output = self.engine.model(images)
            [bound], _ = targets_of(target, output, adapter.scores, len(images))
            probabilities = bound.model_score(output, kind="probability")
        assert bound.ids is not None
        return [
            Prediction(i, self.class_name(i), p)
            for i, p in zip(bound.ids.tolist(), probabilities.tolist(), strict=True)
        ]

    def class_name(self, number: int) -> str:
        """The name of a class, or `class N` where names are not known."""
        names = self.loaded.class_names
        return names[number] if names is not None and number < len(names) else f"class {number}"

    def class_id(self, given: str) -> int:
        """Read a class given by id, or by name whatever the case.

        Raises
        ------
        TargetError
            Where no class, or more than one, has that name.
        """
        try:
            return int(given)
        except ValueError:
            return find_class(given, self.loaded.class_names)


def find_class(name: str, names: Sequence[str] | None) -> int:
    """Find a class by its name, whatever the case."""
    if names is None:
        raise TargetError(f"the names of this model's classes are not known; give an id instead of {name!r}")
    found = [number for number, known in enumerate(names) if known.casefold() == name.casefold()]
    if not found:
        alike = [known for known in names if name.casefold() in known.casefold()] or names
        raise TargetError(f"the model has no class {name!r}; {suggest(name, alike)}")
    if len(found) > 1:
        raise TargetError(f"{len(found)} classes are called {name!r}; give an id: {' or '.join(map(str, found))}")
    return found[0]


def load(spec: str, device: str | None) -> Subject:
    """Load a model onto a device; by default onto a GPU where there is one."""
    chosen = chosen_device(device)
    loaded = load_model(spec)
    loaded.model.to(chosen)
    return Subject(spec, chosen, loaded, Engine(loaded))


def chosen_device(name: str | None) -> torch.device:
    """The device of a name, or by default a GPU where there is one."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise typer.BadParameter(str(error).partition("\n")[0], param_hint="--device") from None
    return device


@contextmanager
def flat_maps_shown() -> Iterator[None]:
    """Leave it to the command to say which maps are flat; it shows that beside the map."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantMapWarning)
        yield
