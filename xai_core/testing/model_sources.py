"""Conformance checks of model sources."""

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
from xai_core.error_text import described
from xai_core.errors import ConstantMapWarning, ModelOutputError, UnknownModelError
from xai_core.targets.selection import CLASS_SCORES, find, read
from xai_core.testing.check import Check, build_checks, require
from xai_core.testing.class_metadata import declared_failures, require_docstring, require_name
from xai_core.testing.metric_case import GradientTimesImage

MAX_PREPROCESS_DIFFERENCE = 0.05
"""Largest accepted mean difference between a preprocessed PIL image and tensor, in standard deviations."""


def check_model_source(
    source: type[ModelSource] | ModelSource,
    name: str | None = None,
    expected_failures: Mapping[str, str] | None = None,
    **options: Any,
) -> Iterator[Check]:
    """Return the conformance checks of a model source. They load one of its models.

    Parameters
    ----------
    source
        The source, as a class or an object.
    name
        First argument of `load`: the model to test. Default: the first of `names()`, or None if there are none.
    expected_failures
        Checks that the source cannot pass: a dict from the name of each check to the reason. It extends the class
        attribute `expected_failures`.
    options
        Options of `load`.
    """
    tested = source() if isinstance(source, type) else source
    case = ModelSourceCase(tested, name or next(iter(tested.names()), None), options)
    return build_checks(tested.name, case, CHECKS, declared_failures(tested, expected_failures))


@dataclass
class ModelSourceCase:
    """A model source with the arguments of its `load`.

    Attributes
    ----------
    source
        The tested source.
    name
        First argument of `load`.
    options
        Options of `load`.
    """

    source: ModelSource
    name: str | None
    options: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def loaded(self) -> LoadedModel:
        """The loaded model."""
        loaded: object = self.source.load(self.name, **self.options)
        require(
            isinstance(loaded, LoadedModel),
            f"`load` must return an xai_core.LoadedModel; it returned {type(loaded).__name__}",
        )
        assert isinstance(loaded, LoadedModel)
        return loaded

    @cached_property
    def image(self) -> Image.Image:
        """A PIL image of 80x60 pixels (width x height)."""
        row = torch.linspace(0, 255, 80).byte().numpy()
        image = Image.new("RGB", (80, 60))
        image.putdata([(int(v), int(255 - v), 128) for _ in range(60) for v in row])
        return image

    @property
    def images(self) -> Tensor:
        """[2,C,h,w], the same preprocessed image twice."""
        return torch.stack([self.loaded.preprocess(self.image)] * 2)

    def scores(self) -> Tensor | None:
        """Return the class scores of the images, or None if the output of the model does not contain them."""
        with torch.no_grad():
            output = self.loaded.model(self.images)
        try:
            path = find(output, len(self.images), CLASS_SCORES)
        except ModelOutputError:
            return None
        return read(output, path, len(self.images), CLASS_SCORES)


def has_valid_name(case: ModelSourceCase) -> None:
    """The name is lower case with hyphens, and the class has a docstring of its own."""
    require_name(case.source)
    require_docstring(type(case.source))


def lists_model_names(case: ModelSourceCase) -> None:
    """`names` returns distinct nonempty strings, or an empty sequence for a source of a single model."""
    names = case.source.names()
    require(
        not isinstance(names, str) and all(isinstance(name, str) and name for name in names),
        f"`names` must return the names of the models, nonempty strings; it returned {names!r}",
    )
    repeated = sorted({name for name in names if list(names).count(name) > 1}) if len(names) < 10_000 else []
    require(not repeated, f"`names` returns {repeated[:3]} more than once; expected distinct names")


def returns_model_in_eval_mode(case: ModelSourceCase) -> None:
    """`load` returns a LoadedModel whose model and all its submodules are in evaluation mode."""
    model: object = case.loaded.model
    require(
        isinstance(model, nn.Module), f"`LoadedModel.model` must be a torch.nn.Module; it is {type(model).__name__}"
    )
    training = [name or "the model itself" for name, module in case.loaded.model.named_modules() if module.training]
    require(
        not training, f"{training[0] if training else ''} is in training mode; call `model.eval()` before returning it"
    )


def preprocesses_any_image(case: ModelSourceCase) -> None:
    """PIL images and tensors in [0,1] of any size become finite floating-point tensors [C,h,w] of one size."""
    shapes = {}
    for size in ((80, 60), (60, 80), (300, 200)):
        image = case.image.resize(size)
        tensor = case.loaded.preprocess(image)
        received = list(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
        require(
            isinstance(tensor, Tensor) and tensor.ndim == 3 and tensor.is_floating_point(),
            f"for a PIL image of size {size}, `preprocess` must return a floating-point tensor [C,h,w]; it returned "
            f"{received}",
        )
        require(
            bool(tensor.isfinite().all()),
            f"for a PIL image of size {size}, `preprocess` returns NaN or infinity; expected finite values",
        )
        shapes[size] = tuple(tensor.shape)
    require(
        len(set(shapes.values())) == 1,
        f"`preprocess` must return one shape for all images; for PIL images of these sizes it returned {shapes}",
    )
    pixels = torch.rand(3, 60, 80, generator=torch.Generator().manual_seed(0))
    tensor = case.loaded.preprocess(pixels)
    expected = shapes[80, 60]
    require(
        tuple(tensor.shape) == expected,
        f"for a tensor [3,60,80] `preprocess` must return {list(expected)}, as for PIL images; it returned "
        f"{list(tensor.shape)}",
    )


def preprocesses_pil_and_tensor_alike(case: ModelSourceCase) -> None:
    """A PIL image and a tensor of the same image in [0,1] are nearly equal after preprocessing."""
    pixels = torch.frombuffer(bytearray(case.image.tobytes()), dtype=torch.uint8)
    tensor = pixels.view(60, 80, 3).permute(2, 0, 1) / 255
    from_pil, from_tensor = case.loaded.preprocess(case.image), case.loaded.preprocess(tensor)
    require(
        from_pil.shape == from_tensor.shape,
        f"`preprocess` must return the same shape for a PIL image and a tensor; it returned {list(from_pil.shape)} and "
        f"{list(from_tensor.shape)}",
    )
    difference = ((from_pil - from_tensor).abs().mean() / from_pil.std().clamp(min=1e-6)).item()
    require(
        difference < MAX_PREPROCESS_DIFFERENCE,
        f"a PIL image and a tensor of the same image differ by {difference:.2f} standard deviations after "
        f"preprocessing; expected less than {MAX_PREPROCESS_DIFFERENCE}",
    )


def restore_inverts_normalization(case: ModelSourceCase) -> None:
    """`restore`, if it is not None, undoes the normalization: it returns colors in [0,1]."""
    if case.loaded.restore is None:
        return
    restored = case.loaded.restore(case.images)
    low, high = restored.amin().item(), restored.amax().item()
    require(
        restored.shape == case.images.shape,
        f"`restore` must return the shape of its input, {list(case.images.shape)}; it returned {list(restored.shape)}",
    )
    require(
        low >= -0.01 and high <= 1.01,
        f"`restore` must return colors in [0,1]; they range from {low:.2f} to {high:.2f}",
    )


def class_names_match_scores(case: ModelSourceCase) -> None:
    """`class_names`, if it is not None, has one name for each class score."""
    names, scores = case.loaded.class_names, case.scores()
    if names is None or scores is None:
        return
    require(
        len(names) == scores.shape[1],
        f"`class_names` must have one name for each class score; there are {len(names)} class names for "
        f"{scores.shape[1]} class scores",
    )


def can_be_explained(case: ModelSourceCase) -> None:
    """An engine explains the predicted class, and the gradient with respect to the images is finite."""
    if case.scores() is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantMapWarning)
        [saliency] = Engine(case.loaded).explain(case.images, GradientTimesImage()).values()
    require(bool(saliency.raw.isfinite().all()), "the gradient with respect to the images contains NaN or infinity")


def rejects_unknown_models(case: ModelSourceCase) -> None:
    """`load` raises UnknownModelError if there is no model of that name."""
    try:
        case.source.load("no-such-model-anywhere", **case.options)
    except UnknownModelError:
        return
    except Exception as error:
        require(
            False,
            f"for a name that does not exist, `load` must raise UnknownModelError; it raises {described(error)}",
        )
    require(False, "for a name that does not exist, `load` must raise UnknownModelError; it returns a model")


CHECKS: tuple[Callable[[ModelSourceCase], None], ...] = (
    has_valid_name,
    lists_model_names,
    returns_model_in_eval_mode,
    preprocesses_any_image,
    preprocesses_pil_and_tensor_alike,
    restore_inverts_normalization,
    class_names_match_scores,
    can_be_explained,
    rejects_unknown_models,
)
