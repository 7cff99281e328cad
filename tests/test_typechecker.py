"""The decorator that checks annotations while tests run accepts what they allow, and rejects everything else."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Float, TypeCheckError
from torch import Tensor

from support.typechecker import jaxtyped, typechecker

checked = jaxtyped(typechecker=typechecker)


@checked
def matched(rows: Float[Tensor, "B N"], weights: Float[Tensor, "B"]) -> Float[Tensor, "N"]:
    return weights[:1] if weights.sum() < 0 else weights @ rows


@checked
def scaled(number: float) -> int:
    return number  # type: ignore[return-value]


@checked
def square(size: int) -> Float[Tensor, "{size} {size}"]:
    return torch.zeros(2, 2)


@checked
def counting(numbers: int) -> Iterator[int]:
    yield from range(numbers)


def test_functions_are_checked_without_binding_their_arguments() -> None:
    """Which jaxtyping does, in the decorator that is kept for some."""
    binding = [function.__code__.co_filename.endswith("_decorator.py") for function in (matched, scaled, square)]
    assert binding == [False, False, True]


def nested(images: Tensor) -> Tensor:
    @checked
    def inner(images: Float[Tensor, "B C"]) -> Tensor:
        return images

    return inner(images)


@pytest.mark.parametrize(
    "call",
    [
        lambda: matched(torch.ones(3, 4), torch.ones(3)),
        lambda: scaled(1),
        lambda: square(2),
        lambda: list(counting(2)),
        lambda: nested(torch.ones(2, 2)),
    ],
)
def test_what_the_annotations_allow_is_accepted(call: Callable[[], Any]) -> None:
    assert call() is not None


@pytest.mark.parametrize(
    "call",
    [
        lambda: matched(torch.ones(3, 4), torch.ones(2)),  # another B
        lambda: matched(torch.ones(3, 4), -torch.ones(3)),  # a result of another size than N
        lambda: matched(torch.ones(3, 4).int(), torch.ones(3)),
        lambda: scaled("1"),  # type: ignore[arg-type]
        lambda: scaled(1.5),
        lambda: square(3),
        lambda: counting("2"),  # type: ignore[arg-type]
        lambda: nested(torch.ones(2)),
    ],
)
def test_everything_else_is_rejected(call: Callable[[], Any]) -> None:
    with pytest.raises((BeartypeCallHintViolation, TypeCheckError)):
        call()
