"""Models with several inputs, such as two photos: each image input is explained while the other inputs stay fixed."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from xai_core.errors import InputShapeError, InputTypeError
from xai_core.explained_model import ExplainedModel
from xai_core.image_inputs import accept_images
from xai_core.model.execution import Forward
from xai_core.model.runtimes import like_images

Inputs = Tensor | tuple[Tensor, ...]
"""Images [B,C,H,W], or a tuple of all inputs of a model, each with B rows."""


class SeveralInputs:
    """A model with several inputs, from which `of` creates a model of each image input.

    Parameters
    ----------
    model
        The model with all its inputs. Its `forward` receives a tuple of inputs, if the user passes a tuple.
    """

    def __init__(self, model: ExplainedModel) -> None:
        self._model = model
        self._probed: dict[tuple[Any, ...], ExplainedModel] = {}

    def of(self, inputs: Inputs) -> list[tuple[ExplainedModel, Tensor]]:
        """Return each image input, with the model as a function of this input alone.

        Raises
        ------
        InputTypeError
            If an input is not a tensor, or none has the dimensions of images.
        InputShapeError
            If the inputs do not have the same number of rows.
        """
        if not isinstance(inputs, tuple) or not _are_inputs(inputs):
            return [(self._model, inputs)]  # type: ignore[list-item]  # it is rejected with the errors of images
        accepted = _accept(inputs, self._model.bare)
        return [(self._at(index, accepted), inputs[index]) for index in range(len(inputs)) if _is_image(inputs[index])]

    def _at(self, index: int, inputs: tuple[Tensor, ...]) -> ExplainedModel:
        """Return the model as a function of one input. It shares the probes of inputs of the same sizes."""
        model = self._model.called_by(_fixing(self._model.forward, index, inputs))
        probed = self._probed.setdefault((index, *(tuple(value.shape[1:]) for value in inputs)), model)
        model.share_probes(probed)
        return model


def of_each(values: object, count: int, name: str) -> tuple[Any, ...]:
    """Return a tuple with one value for each image input, such as maps. Masks may be None.

    Raises
    ------
    InputTypeError
        If `values` is not a tuple with one item for each image input.
    """
    if values is None and name == "masks":
        return (None,) * count
    if isinstance(values, tuple) and len(values) == count:
        return values
    received = f"a tuple of {len(values)}" if isinstance(values, tuple) else type(values).__name__
    raise InputTypeError(
        f"the model has {count} image inputs, so {name} must be a tuple with one item for each of them, as `explain` "
        f"returns it; got {received}"
    )


def _fixing(forward: Forward, index: int, inputs: tuple[Tensor, ...]) -> Forward:
    """Return a function of the input with an index. It selects the rows of the other inputs for the same images.

    Floating-point rows get the dtype of the images, which is float64 in a copy of the model with float64 parameters.
    """

    def fixed(value: Tensor, images: Tensor, of: Tensor) -> Tensor:
        rows = value.index_select(0, of)
        return rows.to(images.dtype) if rows.is_floating_point() else rows

    def call(model: nn.Module, images: Tensor, of: Tensor) -> Any:
        rows = (images if i == index else fixed(value, images, of) for i, value in enumerate(inputs))
        return forward(model, tuple(rows), of)  # type: ignore[arg-type]  # `forward` receives what the user passed

    return call


def _is_image(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.ndim >= 4


def _are_inputs(values: tuple[object, ...]) -> bool:
    """Return whether a tuple contains the inputs of a model, and not the images of a batch."""
    return any(_is_image(value) for value in values)


def _accept(inputs: tuple[Any, ...], model: nn.Module) -> tuple[Tensor, ...]:
    """Return the inputs on the model's device, and floating-point inputs in its type."""
    for value in inputs:
        if not isinstance(value, Tensor):
            hint = "; pass its tensors one by one" if isinstance(value, Mapping) else ""
            raise InputTypeError(
                f"expected a tuple of tensors, one for each input of the model; got {type(value).__name__}{hint}"
            )
    rows = [len(value) if value.ndim else 0 for value in inputs]
    if len({*rows}) > 1:
        raise InputShapeError(f"expected the same number of rows in all inputs of the model, got {rows}")
    with torch.inference_mode(False), torch.no_grad():
        return tuple(
            (accept_images(value, model) if _is_image(value) else _moved(value, model)).clone() for value in inputs
        )


def _moved(value: Tensor, model: nn.Module) -> Tensor:
    device, dtype = like_images(model, value)
    return value.detach().to(device, dtype if value.is_floating_point() else value.dtype)
