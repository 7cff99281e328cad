"""Outputs of modules: a tensor, or a tuple, list or mapping of tensors."""

import copy
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any

from torch import Tensor

from xai_core.errors import ModelOutputError

MOST_LISTED = 8
"""The number of tensors that a message lists."""
Path = tuple[Any, ...]
"""Keys, names and indices that lead to a part of an output. The path of the output itself is empty."""


def first_tensor(output: Any) -> Tensor | None:
    """Return an output that is a tensor, or the first tensor in a tuple, list or mapping, or None."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        output = tuple(output.values())
    return first_tensor(output[0]) if isinstance(output, tuple | list) and output else None


def scores_of(output: Any) -> Tensor | None:
    """Return the tensor that probably contains the scores of a model's output, or None if it contains no numbers.

    This is the part `logits` or `out`, or else the first floating-point tensor [B,K], or else the first of any shape.
    If gradients were enabled, tensors that are connected to the graph are preferred.
    """
    leaves = {path: tensor for path, tensor in leaves_of(output) if tensor.is_floating_point()}
    named = (leaves[(name,)] for name in ("logits", "out") if (name,) in leaves)
    others = sorted(leaves.values(), key=lambda tensor: (not tensor.requires_grad, tensor.ndim != 2))
    return next(itertools.chain(named, others), None)


def parts_of(output: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the parts of a mapping, named tuple, tuple or list, each with its key, name or index."""
    if isinstance(output, tuple | list):
        yield from zip(getattr(output, "_fields", range(len(output))), output, strict=True)
    elif isinstance(output, Mapping):
        yield from output.items()


def leaves_of(output: Any, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    """Yield all tensors in an output, each with its path."""
    if isinstance(output, Tensor):
        yield path, output
        return
    for key, part in parts_of(output):
        yield from leaves_of(part, (*path, key))


def leaf_at(output: Any, path: Path) -> Tensor | None:
    """Return the tensor at a path in an output, or None if there is none."""
    return next((tensor for found, tensor in leaves_of(output) if found == path), None)


def with_leaves(output: Any, tensors: Mapping[Path, Tensor]) -> Any:
    """Return an output with the tensors at some paths replaced. The output itself stays unchanged."""
    if not tensors:
        return output
    if () in tensors:
        return tensors[()]
    below: dict[Any, dict[Path, Tensor]] = {}
    for (key, *path), tensor in tensors.items():
        below.setdefault(key, {})[tuple(path)] = tensor
    parts = {key: with_leaves(part, below.get(key, {})) for key, part in parts_of(output)}
    if isinstance(output, Mapping):
        copied = copy.copy(output)
        for key in below:
            copied[key] = parts[key]  # type: ignore[index]
        return copied
    return output._make(parts.values()) if hasattr(output, "_make") else type(output)(parts.values())


def tensors_of(output: Any) -> Iterator[Tensor]:
    """Yield all tensors in an output."""
    return (tensor for _, tensor in leaves_of(output))


def tensors_in(*values: Any) -> Iterator[Tensor]:
    """Yield the tensors in values of any type: tensors, and the contents of tuples, lists, dicts and dataclasses."""
    pending, seen = [*values], set[int]()
    while pending:
        value = pending.pop()
        kind = type(value)
        if id(value) in seen:
            continue
        seen.add(id(value))
        if issubclass(kind, Tensor):
            yield value
        elif issubclass(kind, tuple | list):
            pending += value
        elif issubclass(kind, dict):
            pending += dict.values(value)
        elif is_dataclass(kind):
            pending += vars(value).values()


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


def part_of(output: Any, key: str | int) -> Any:
    """Return the part of an output with a key, a name, an index, or several of them separated by dots.

    Raises
    ------
    ModelOutputError
        If the output has no such part.
    """
    parts = dict(parts_of(output))
    if key in parts:
        return parts[key]
    if isinstance(key, int) and -len(parts) <= key < len(parts):
        return [*parts.values()][key]
    if isinstance(key, str):
        head, dot, rest = key.partition(".")
        if dot:
            return part_of(part_of(output, head), rest)
        if key.isdecimal():
            return part_of(output, int(key))
        if not parts and not isinstance(output, Tensor) and hasattr(output, key):
            return getattr(output, key)
    raise ModelOutputError(f"the model's output has no part {key!r}; it is {described(output)}")


def described(output: Any) -> str:
    """Describe an output in a message: the shape of a tensor, or the names and shapes of the tensors in it."""
    if isinstance(output, Tensor):
        return f"a tensor {list(output.shape)}"
    if is_list_of_dicts(output):
        return f"a {type(output).__name__} of dicts ({', '.join(map(str, output[0]))})"
    return f"{type(output).__name__} of {listed(dict(leaves_of(output)))}".removesuffix(" of ")


def listed(leaves: Mapping[Path, Tensor]) -> str:
    """Return the names and shapes of tensors, with names that `part_of` accepts."""
    shown = [f"{spelled(path)} {list(tensor.shape)}" for path, tensor in leaves.items()]
    return ", ".join([*shown[:MOST_LISTED], *(["..."] if len(shown) > MOST_LISTED else [])])


def spelled(path: Path) -> str:
    """Return a path as a name or an index that `part_of` accepts."""
    return repr(path[0] if len(path) == 1 else ".".join(map(str, path)))


def is_list_of_dicts(output: Any) -> bool:
    """Return whether an output contains one mapping per image, as detections do."""
    return isinstance(output, tuple | list) and bool(output) and all(isinstance(part, Mapping) for part in output)
