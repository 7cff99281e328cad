"""Names the code of objects of one's own, so that a run does not go on with another."""

import dis
import functools
import hashlib
import inspect
import re
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import nn

from xai_core.configurable import Configurable
from xai_core.data.sources import LoadedModel

_LIBRARIES = {"torch", "xai_core"} | sys.stdlib_module_names
"""Whose classes are not looked at."""
_INSIDE = ("__func__", "__wrapped__", "fget", "fset", "fdel", "func", "args", "keywords")
"""Where decorators, properties and `functools.partial` keep what they are of."""
_PLAIN = (str, bytes, bool, int, float, complex, type(None))


def code_hash(one: Configurable | LoadedModel) -> str:
    """Name what an object does: 64 hexadecimal digits, the same wherever its class is written.

    Of a method or metric, that is what its class defines, functions as well as numbers and text, and its options,
    tensors and arrays by content. Of a model, it is what it prints as, what its classes define, and `preprocess`. What
    functions call elsewhere is not looked at.
    """
    content = hashlib.sha256()
    for part in _Reader().parts(one):
        content.update(f"{len(part)}:".encode() + part)
    return content.hexdigest()


class _Reader:
    """Reads what an object is, each function and class once."""

    def __init__(self) -> None:
        self._seen: dict[int, object] = {}

    def parts(self, value: Any) -> Iterator[bytes]:
        """Everything about a value that can be compared; nothing of what only its place in memory tells."""
        if isinstance(value, LoadedModel):
            yield _without_places(repr(value.model)).encode()
            for module in value.model.modules():
                yield from self._kinds(type(module))
            yield from self.parts(value.preprocess)
        elif isinstance(value, Configurable):
            yield from self._kinds(type(value))
            for name in inspect.signature(type(value)).parameters:
                yield from self.parts(getattr(value, name, None))
        elif isinstance(value, nn.Module):
            yield _without_places(repr(value)).encode()
            yield from self.parts(dict(value.state_dict()))
        elif isinstance(value, torch.Tensor | np.ndarray):
            yield from _numbers(value)
        elif isinstance(value, _PLAIN):
            yield repr(value).encode()
        elif isinstance(value, set | frozenset):
            yield from sorted(part for one in value for part in self.parts(one))
        elif isinstance(value, tuple | list | dict):
            yield type(value).__name__.encode()
            for one in value.items() if isinstance(value, dict) else value:
                yield from self.parts(one)
        elif isinstance(value, FunctionType):
            yield from self._function(value)
        elif callable(value) or isinstance(value, property | functools.cached_property | staticmethod | classmethod):
            yield from self._other(value)

    def _kinds(self, kind: type) -> Iterator[bytes]:
        """What the classes of an object define."""
        for one in kind.__mro__:
            if one.__module__.partition(".")[0] not in _LIBRARIES and self._is_new(one):
                for name, value in sorted(vars(one).items()):
                    found = [*self.parts(value)] if _is_code(name, value) else []
                    yield from [name.encode(), *found] if found else []

    def _function(self, function: FunctionType) -> Iterator[bytes]:
        if self._is_new(function):
            yield from self._code(function.__code__)
            yield from self.parts(function.__defaults__ or ())
            yield from self.parts(function.__kwdefaults__ or {})
            for cell in function.__closure__ or ():
                try:
                    held = cell.cell_contents
                except ValueError:  # not set yet
                    continue
                if not isinstance(held, type):
                    yield from self.parts(held)

    def _code(self, code: CodeType) -> Iterator[bytes]:
        """What is done, without where it stands and how it is documented."""
        for one in dis.get_instructions(code):
            yield one.opname.encode()
            if isinstance(one.argval, CodeType):
                yield from self._code(one.argval)
            else:
                shown = sorted(map(repr, one.argval)) if isinstance(one.argval, frozenset) else one.argval
                yield repr(shown).encode()

    def _other(self, value: Any) -> Iterator[bytes]:
        """What can be called: what it is of, or else what it prints as."""
        if isinstance(value, type):
            yield value.__qualname__.encode()
            return
        if not self._is_new(value):
            return
        inside = [getattr(value, name) for name in _INSIDE if hasattr(value, name)]
        for one in inside:
            yield from self.parts(one)
        if not inside:
            yield _without_places(repr(value)).encode()
        if not isinstance(value, MethodType):
            yield from self._kinds(type(value))

    def _is_new(self, one: object) -> bool:
        new = id(one) not in self._seen
        self._seen[id(one)] = one  # kept, so that nothing else gets its id
        return new


def _is_code(name: str, value: object) -> bool:
    """Whether what a class has is of its code, and neither about it, such as `__doc__`, nor filled as it works."""
    if name.startswith("__") and isinstance(value, (*_PLAIN, tuple, dict)):
        return False
    if isinstance(value, list | dict | set):
        held = value.values() if isinstance(value, dict) else value
        return bool(value) and all(isinstance(one, (*_PLAIN, tuple)) for one in held)
    return value is not None


def _numbers(value: "torch.Tensor | np.ndarray[Any, Any]") -> Iterator[bytes]:
    yield f"{value.dtype} {list(value.shape)}".encode()
    if isinstance(value, torch.Tensor):
        yield value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    else:
        yield repr(value.tolist()).encode() if value.dtype.hasobject else value.tobytes()


def _without_places(text: str) -> str:
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)
