"""Functions of users that call a model, and the indices that select the side inputs of each image."""

import contextlib
import inspect
from collections.abc import Callable
from typing import Any, cast

import torch
from jaxtyping import Int
from torch import Tensor, nn

from xai_core.errors import InputTypeError
from xai_core.model.execution import Forward
from xai_core.outputs import part_of
from xai_core.tensor_writes import version

UserForward = Callable[[nn.Module, Tensor], Any] | Forward
"""A function `(model, images)` or `(model, images, of)` that returns the model's output."""


def call_model(model: nn.Module, images: Tensor, of: Tensor) -> Any:
    """Call a model with images, or with a tuple of inputs. This is the default `Forward`.

    Raises
    ------
    InputTypeError
        If the model does not take as many inputs.
    """
    if not isinstance(images, tuple):
        return _call_with_images(model, images)
    try:
        inspect.signature(model.forward).bind(*images)
    except TypeError as error:
        raise InputTypeError(
            f"a tuple of {len(images)} inputs was passed, and {type(model).__name__} takes others ({error}); use "
            "`torch.cat(images)` for several batches of images, or pass other inputs of the model through `forward=` "
            "of the Engine"
        ) from None
    except ValueError:  # some functions of extension modules have no signature
        pass
    return model(*images)


def _call_with_images(model: nn.Module, images: Tensor) -> Any:
    try:
        return model(images)
    except TypeError:
        with contextlib.suppress(ValueError):  # some functions of extension modules have no signature
            try:
                inspect.signature(model.forward).bind(images)
            except TypeError as error:
                raise InputTypeError(
                    f"one tensor of images was passed, and {type(model).__name__} takes others ({error}); pass a tuple "
                    "of all inputs, as in `explain((images, others))`, or pass them through `forward=` of the Engine"
                ) from None
        raise


def accept_forward(forward: UserForward | None) -> Forward:
    """Return a user's function as a function `(model, images, of)`.

    The third parameter is passed if it is positional, and has no default or the name `of`. A function with `*args`
    receives two arguments.

    Raises
    ------
    InputTypeError
        If it is not a function of two or three arguments.
    """
    if forward is None:
        return call_model
    expected = "expected `forward` as a function `(model, images)` or `(model, images, of)`"
    if not callable(forward):
        raise InputTypeError(f"{expected}; got {type(forward).__name__}")
    try:
        signature = inspect.signature(forward)
    except (TypeError, ValueError):  # some functions of extension modules have no signature
        return _without_indices(forward)
    count = 3 if _takes_indices(signature) else 2
    try:
        signature.bind(*range(count))
    except TypeError as error:
        raise InputTypeError(f"{expected}; got {signature}: {error}") from None
    return cast(Forward, forward) if count == 3 else _without_indices(forward)


def _takes_indices(signature: inspect.Signature) -> bool:
    positional = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    return any(parameter.default is parameter.empty or parameter.name == "of" for parameter in positional[2:3])


def _without_indices(forward: Callable[..., Any]) -> Forward:
    return lambda model, images, of: forward(model, images)


def selecting(forward: Forward, part: str | int) -> Forward:
    """Return a function that calls the model, and returns one part of its output. See `part_of`.

    Raises
    ------
    InputTypeError
        If the part is neither a name nor an index.
    """
    if isinstance(part, bool) or not isinstance(part, str | int):
        raise InputTypeError(f"expected `output` as the name or the index of a part of the output, got {part!r}")
    return lambda model, images, of: part_of(forward(model, images, of), part)


def preserving_images(forward: Forward) -> Forward:
    """Return a function that calls a model, with copies of the images after the model has written to images."""
    writes = False

    def call(model: nn.Module, images: Tensor, of: Tensor) -> Any:
        nonlocal writes
        if writes:
            return forward(model, images.clone(), of)
        before = version(images)
        output = forward(model, images, of)
        writes = version(images) != before
        return output

    return call


def batch_indices(images: Tensor) -> Int[Tensor, " B"]:
    """Return the indices of the images of a batch, 0 to B - 1, on their device."""
    return torch.arange(len(images), device=images.device)
