"""Outputs of modules: a tensor, or a tuple, list or mapping of tensors."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor


def first_tensor(output: Any) -> Tensor | None:
    """Return an output that is a tensor, or the first tensor in a tuple, list or mapping, or None."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        output = tuple(output.values())
    return first_tensor(output[0]) if isinstance(output, tuple | list) and output else None


def scores_of(output: Any) -> Tensor | None:
    """Return the scores in a model's output: the `logits` or `out` of a mapping, or the first tensor."""
    if isinstance(output, Mapping):
        output = output.get("logits", output.get("out", output))
    return first_tensor(output)


def tensors_of(output: Any) -> Iterator[Tensor]:
    """Yield all tensors in an output."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        yield from tensors_of(tuple(output.values()))
    elif isinstance(output, tuple | list):
        for part in output:
            yield from tensors_of(part)


def with_first_tensor(output: Any, tensor: Tensor) -> Any:
    """Return an output with its first tensor replaced."""
    if isinstance(output, Tensor):
        return tensor
    if isinstance(output, Mapping):
        copied = copy.copy(output)
        key = next(iter(output))
        copied[key] = with_first_tensor(output[key], tensor)  # type: ignore[index]
        return copied
    replaced = [with_first_tensor(output[0], tensor), *output[1:]]
    return output._make(replaced) if hasattr(output, "_make") else type(output)(replaced)


def detached(output: Any) -> Any:
    """Return an output with all its tensors detached from the autograd graph."""
    if isinstance(output, Tensor):
        return output.detach()
    if isinstance(output, Mapping):
        copied = copy.copy(output)
        for key, value in output.items():
            copied[key] = detached(value)  # type: ignore[index]
        return copied
    if isinstance(output, tuple | list):
        parts = [detached(part) for part in output]
        return output._make(parts) if hasattr(output, "_make") else type(output)(parts)
    return output
