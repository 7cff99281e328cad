"""The promises of model sources."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from xai_core.data.sources import LoadedModel, ModelSource
from xai_core.engine import Engine
from xai_core.errors import ConstantMapWarning, UnknownModelError
from xai_core.outputs import scores_of
from xai_core.testing.check import Check, checks_of, require
from xai_core.testing.described import declared, require_docstring, require_name
from xai_core.testing.metric_case import GradientTimesImage


def check_model_source(
    source: type[ModelSource] | ModelSource,
    model: str | None = None,
    expected_failures: Mapping[str, str] | None = None,
    **options: Any,
) -> Iterator[Check]:
    """The promises of a source of models, one check each, tried on one of its models.

    Parameters
    ----------
    source
        The class, or an object of it.
    model
        The model to load; default: the first of its `names()`, or none.
    expected_failures
        Names of checks that it cannot pass, each with the reason; with those that its class declares in an attribute
        `expected_failures`.
    options
        Options of `load`.
    """
    made = source() if isinstance(source, type) else source
    case = ModelSourceCase(made, model or next(iter(made.names()), None), options)
    return checks_of(made.name, case, PROMISES, declared(made, expected_failures))


@dataclass
class ModelSourceCase:
    """A source and one of its models."""

    source: ModelSource
    name: str | None
    options: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def loaded(self) -> LoadedModel:
        """The model."""
        given: object = self.source.load(self.name, **self.options)
        require(
            isinstance(given, LoadedModel), f"`load` must give an xai_core.LoadedModel; it gave {type(given).__name__}"
        )
        assert isinstance(given, LoadedModel)
        return given

    @cached_property
    def picture(self) -> Image.Image:
        """A PIL image of 80 columns and 60 rows."""
        row = torch.linspace(0, 255, 80).byte().numpy()
        image = Image.new("RGB", (80, 60))
        image.putdata([(int(v), int(255 - v), 128) for _ in range(60) for v in row])
        return image

    @property
    def images(self) -> Tensor:
        """That image, twice, as the model takes it."""
        return torch.stack([self.loaded.preprocess(self.picture)] * 2)

    def output(self) -> Tensor | None:
        """The class scores, where the model gives some."""
        with torch.no_grad():
            return scores_of(self.loaded.model(self.images))


def has_a_name(case: ModelSourceCase) -> None:
    """The name is lower case with hyphens, and the docstring's first line says what it gives."""
    require_name(case.source)
    require_docstring(type(case.source))


def names_its_models(case: ModelSourceCase) -> None:
    """`names` gives distinct strings, or nothing for a source of one model."""
    names = case.source.names()
    require(
        not isinstance(names, str) and all(isinstance(name, str) and name for name in names),
        f"`names` must give the models' names, strings; it gave {names!r}",
    )
    twice = sorted({name for name in names if list(names).count(name) > 1}) if len(names) < 10_000 else []
    require(not twice, f"`names` gives {twice[:3]} more than once")


def gives_a_model_in_evaluation_mode(case: ModelSourceCase) -> None:
    """`load` gives a LoadedModel whose module and all its submodules are in evaluation mode."""
    model: object = case.loaded.model
    require(
        isinstance(model, nn.Module), f"`LoadedModel.model` must be a torch.nn.Module; it is {type(model).__name__}"
    )
    training = [name or "the model itself" for name, module in case.loaded.model.named_modules() if module.training]
    require(not training, f"{training[:1]} is in training mode; return `model.eval()`")


def preprocesses_what_users_have(case: ModelSourceCase) -> None:
    """PIL images and tensors in [0,1], of any size, become finite floating-point [C,h,w] of one size."""
    shapes = {}
    for size in ((80, 60), (60, 80), (300, 200)):
        picture = case.picture.resize(size)
        made = case.loaded.preprocess(picture)
        require(
            isinstance(made, Tensor) and made.ndim == 3 and made.is_floating_point(),
            f"`preprocess` must make a floating-point [C,h,w] of a PIL image of {size}; it made "
            f"{list(made.shape) if isinstance(made, Tensor) else type(made).__name__}",
        )
        require(bool(made.isfinite().all()), f"`preprocess` makes NaN or infinity of a PIL image of {size}")
        shapes[size] = tuple(made.shape)
    require(len(set(shapes.values())) == 1, f"images of one batch have one size; `preprocess` makes {shapes}")
    tensor = torch.rand(3, 60, 80, generator=torch.Generator().manual_seed(0))
    made = case.loaded.preprocess(tensor)
    require(
        tuple(made.shape) in shapes.values(),
        f"of a tensor [3,60,80] `preprocess` makes {list(made.shape)}, not {shapes}",
    )


def images_and_tensors_are_preprocessed_alike(case: ModelSourceCase) -> None:
    """A PIL image and the same image as a tensor in [0,1] become nearly the same."""
    raw = torch.frombuffer(bytearray(case.picture.tobytes()), dtype=torch.uint8)
    tensor = raw.view(60, 80, 3).permute(2, 0, 1) / 255
    one, other = case.loaded.preprocess(case.picture), case.loaded.preprocess(tensor)
    require(one.shape == other.shape, f"they become {list(one.shape)} and {list(other.shape)}")
    apart = ((one - other).abs().mean() / one.std().clamp(min=1e-6)).item()
    require(apart < 0.05, f"they become tensors that differ by {apart:.2f} of their standard deviation")


def restores_what_the_model_sees(case: ModelSourceCase) -> None:
    """`restore`, where there is one, undoes the normalization: colors in [0,1]."""
    if case.loaded.restore is None:
        return
    shown = case.loaded.restore(case.images)
    low, high = shown.amin().item(), shown.amax().item()
    require(shown.shape == case.images.shape, f"of {list(case.images.shape)} it makes {list(shown.shape)}")
    require(low >= -0.01 and high <= 1.01, f"colors of a picture are restored to {low:.2f} to {high:.2f}, not to [0,1]")


def names_every_class(case: ModelSourceCase) -> None:
    """`class_names`, where there are some, are one for each class score."""
    names, scores = case.loaded.class_names, case.output()
    if names is None or scores is None or scores.ndim != 2:
        return
    require(len(names) == scores.shape[1], f"there are {len(names)} class names for {scores.shape[1]} class scores")


def can_be_explained(case: ModelSourceCase) -> None:
    """An engine explains its predicted class, with a gradient that is finite."""
    scores = case.output()
    if scores is None or scores.ndim != 2:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantMapWarning)
        [saliency] = Engine(case.loaded).explain(case.images, GradientTimesImage()).values()
    require(bool(saliency.raw.isfinite().all()), "the gradient at the images holds NaN or infinity")


def refuses_models_that_it_does_not_have(case: ModelSourceCase) -> None:
    """A name that it does not know raises UnknownModelError, which the user reads."""
    try:
        case.source.load("no-such-model-anywhere", **case.options)
    except UnknownModelError:
        return
    except Exception as error:
        require(False, f"a model that does not exist raises {type(error).__name__}: {error}; raise UnknownModelError")
    require(False, "a model that does not exist is loaded all the same; raise UnknownModelError")


PROMISES: tuple[Callable[[ModelSourceCase], None], ...] = (
    has_a_name,
    names_its_models,
    gives_a_model_in_evaluation_mode,
    preprocesses_what_users_have,
    images_and_tensors_are_preprocessed_alike,
    restores_what_the_model_sees,
    names_every_class,
    can_be_explained,
    refuses_models_that_it_does_not_have,
)
