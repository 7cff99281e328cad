"""Base class of results for a batch of images: moved, indexed and saved as a whole, and printed in one line."""

import contextlib
import operator
from collections.abc import Callable, Collection
from dataclasses import fields, replace
from typing import Any, ClassVar, Self, SupportsIndex

import torch
from torch import Tensor

from xai_core.errors import InputTypeError

_LONGEST_REPR = 160


def _accept_device(device: object) -> torch.device:
    if isinstance(device, str | torch.device):
        with contextlib.suppress(RuntimeError):
            return torch.device(device)
    hint = "; convert single tensors instead, as in `.raw.half()`" if isinstance(device, torch.dtype) else ""
    raise InputTypeError(f"expected a device, such as 'cpu' or 'cuda:0', got {device!r:.80}{hint}")


class Batched:
    """Base class of frozen dataclasses whose tensors have the batch as their first dimension.

    They can be pickled, saved with `torch.save` and loaded with `torch.load`. A field that cannot be pickled is saved
    as None.
    """

    _unbatched: ClassVar[Collection[str]] = ()
    """Names of the fields whose tensors have no batch dimension."""
    _unsaved: ClassVar[Collection[str]] = ()
    """Names of the fields that are saved as None unless they contain a `Batched` object."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # `torch.load` reads only listed classes by default. These are safe: reading them runs no code of their own.
        torch.serialization.add_safe_globals([cls])

    def to(self, device: torch.device | str) -> Self:
        """Return these results with all tensors on a device.

        Raises
        ------
        InputTypeError
            If this is not a device. Tensors keep their type.
        """
        accepted = _accept_device(device)
        return self._map(lambda tensor: tensor.to(accepted), lambda nested: nested.to(accepted), ())

    def clone(self) -> Self:
        """Return these results with copies of all tensors."""
        return self._map(torch.clone, lambda nested: nested.clone(), ())

    def __len__(self) -> int:
        """Return the number of images B."""
        values = (value for name, value in self._fields() if name not in self._unbatched)
        return len(next(value for value in values if isinstance(value, Tensor | Batched)))

    def __getitem__(self, index: SupportsIndex | slice) -> Self:
        """Return the results for one image, as a batch of one, or for a slice of the batch.

        Raises
        ------
        IndexError
            If the batch has no image with this index.
        """
        if not isinstance(index, slice):
            number = range(len(self))[operator.index(index)]
            index = slice(number, number + 1)
        return self._select(index)

    def _select(self, images: slice) -> Self:
        return self._map(lambda tensor: tensor[images], lambda nested: nested[images], self._unbatched)

    def _map(
        self, on_tensor: Callable[[Tensor], Tensor], on_nested: Callable[[Any], Any], excluded: Collection[str]
    ) -> Self:
        """Apply functions to the tensors and the nested `Batched` objects of all fields that are not excluded."""

        def mapped(value: Any) -> Any:
            if isinstance(value, Tensor):
                return on_tensor(value)
            if isinstance(value, Batched):
                return on_nested(value)
            if type(value) is not tuple:
                return value
            items = tuple(map(mapped, value))
            return value if all(new is old for new, old in zip(items, value, strict=True)) else items

        before = {name: value for name, value in self._fields() if name not in excluded}
        after = {name: mapped(value) for name, value in before.items()}
        changes = {name: value for name, value in after.items() if value is not before[name]}
        return replace(self, **changes) if changes else self  # type: ignore[type-var]

    def _fields(self) -> list[tuple[str, Any]]:
        return [(field.name, getattr(self, field.name)) for field in fields(self)]  # type: ignore[arg-type]

    def __getstate__(self) -> dict[str, Any]:
        return {name: self._saved(name, value) for name, value in vars(self).items()}

    def _saved(self, name: str, value: Any) -> Any:
        if name in self._unsaved and not isinstance(value, Batched):
            return None
        is_view = isinstance(value, Tensor) and value.untyped_storage().nbytes() > value.nbytes
        return value.clone() if is_view else value  # saving a view would save the whole batch

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={_shown(value)}" for name, value in self._fields() if value is not None)
        return f"{type(self).__name__}({shown if len(shown) <= _LONGEST_REPR else shown[:_LONGEST_REPR] + '...'})"


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    if isinstance(value, Batched):
        return type(value).__name__
    if isinstance(value, tuple) and value and isinstance(value[0], Batched):
        return f"{len(value)} x {type(value[0]).__name__}"
    return getattr(value, "__name__", None) or repr(value)
