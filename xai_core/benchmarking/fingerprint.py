"""Hash of user code, so that a run is not resumed with other code."""

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

from xai_core.benchmarking.source_text import file_text, source_text
from xai_core.configurable import Configurable
from xai_core.data.sources import LoadedModel

_LIBRARIES = {"torch", "xai_core"} | sys.stdlib_module_names
"""Packages whose classes are not part of the hash, because the manifest records their versions."""
_WRAPPED = ("__func__", "__wrapped__", "fget", "fset", "fdel", "func", "args", "keywords")
"""Attributes in which decorators, properties and `functools.partial` keep the functions that they wrap."""
_PLAIN = (str, bytes, bool, int, float, complex, type(None))


def code_hash(user_object: Configurable | LoadedModel) -> str:
    """Return a SHA-256 of the code of a model, method or metric that the user wrote, as 64 hexadecimal digits.

    For a method or metric, the hash covers the definitions of its class and of the base classes, and its options. For a
    model, it covers the `repr`, the definitions of the classes of its modules, `preprocess`, and the text of
    `source_files`. Functions are hashed by their source text, everything else by value. Comments, docstrings, blank
    lines and the order of definitions do not matter. Functions outside of these classes are not covered.

    If the source text is not available, for instance after `exec`, the bytecode is hashed instead. It depends on the
    Python version.
    """
    content = hashlib.sha256()
    for part in _Parts().of(user_object):
        content.update(f"{len(part)}:".encode() + part)
    return content.hexdigest()


class _Parts:
    """Iterates over everything that identifies an object, each function and class once."""

    def __init__(self) -> None:
        self._seen: dict[int, object] = {}

    def of(self, value: Any) -> Iterator[bytes]:
        """Iterate over the parts of a value. A value that is identified only by its memory address has no parts."""
        if isinstance(value, LoadedModel):
            yield _without_addresses(repr(value.model)).encode()
            for module in value.model.modules():
                yield from self._class(type(module))
            yield from self.of(value.preprocess)
            yield from (file_text(path).encode() for path in value.source_files)
        elif isinstance(value, Configurable):
            yield from self._class(type(value))
            for name in inspect.signature(type(value)).parameters:
                yield from self.of(getattr(value, name, None))
        elif isinstance(value, nn.Module):
            yield _without_addresses(repr(value)).encode()
            yield from self.of(dict(value.state_dict()))
        elif isinstance(value, torch.Tensor | np.ndarray):
            yield from _array(value)
        elif isinstance(value, _PLAIN):
            yield repr(value).encode()
        elif isinstance(value, set | frozenset):
            yield from sorted(part for item in value for part in self.of(item))
        elif isinstance(value, tuple | list | dict):
            yield type(value).__name__.encode()
            for item in value.items() if isinstance(value, dict) else value:
                yield from self.of(item)
        elif isinstance(value, FunctionType):
            yield from self._function(value)
        elif callable(value) or isinstance(value, property | functools.cached_property | staticmethod | classmethod):
            yield from self._callable(value)

    def _class(self, cls: type) -> Iterator[bytes]:
        """Iterate over what a class and its bases define."""
        for base in cls.__mro__:
            if base.__module__.partition(".")[0] not in _LIBRARIES and self._is_new(base):
                for name, value in sorted(vars(base).items()):
                    parts = [*self.of(value)] if _is_definition(name, value) else []
                    yield from [name.encode(), *parts] if parts else []

    def _function(self, function: FunctionType) -> Iterator[bytes]:
        if self._is_new(function):
            text = source_text(function.__code__)
            yield from self._bytecode(function.__code__) if text is None else [text.encode()]
            yield from self.of(function.__defaults__ or ())
            yield from self.of(function.__kwdefaults__ or {})
            for cell in function.__closure__ or ():
                try:
                    content = cell.cell_contents
                except ValueError:  # not assigned yet
                    continue
                if not isinstance(content, type):
                    yield from self.of(content)

    def _bytecode(self, code: CodeType) -> Iterator[bytes]:
        """Iterate over the instructions of a function, without line numbers and docstring."""
        for instruction in dis.get_instructions(code):
            yield instruction.opname.encode()
            argument = instruction.argval
            if isinstance(argument, CodeType):
                yield from self._bytecode(argument)
            else:
                yield repr(sorted(map(repr, argument)) if isinstance(argument, frozenset) else argument).encode()

    def _callable(self, value: Any) -> Iterator[bytes]:
        """Iterate over the parts of a callable: its class, and its wrapped functions or its `repr`."""
        if isinstance(value, type):
            yield value.__qualname__.encode()
            return
        if not self._is_new(value):
            return
        wrapped = [getattr(value, name) for name in _WRAPPED if hasattr(value, name)]
        for each in wrapped:
            yield from self.of(each)
        if not wrapped:
            yield _without_addresses(repr(value)).encode()
        if not isinstance(value, MethodType):
            yield from self._class(type(value))

    def _is_new(self, value: object) -> bool:
        new = id(value) not in self._seen
        self._seen[id(value)] = value  # keeps the object alive, so that its id stays unique
        return new


def _is_definition(name: str, value: object) -> bool:
    """Return whether a class attribute is part of the code: neither metadata, such as `__doc__`, nor a cache."""
    if name.startswith("__") and isinstance(value, (*_PLAIN, tuple, dict)):
        return False
    if isinstance(value, list | dict | set):
        items = value.values() if isinstance(value, dict) else value
        return bool(value) and all(isinstance(item, (*_PLAIN, tuple)) for item in items)
    return value is not None


def _array(value: "torch.Tensor | np.ndarray[Any, Any]") -> Iterator[bytes]:
    yield f"{value.dtype} {list(value.shape)}".encode()
    if isinstance(value, torch.Tensor):
        yield value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    else:
        yield repr(value.tolist()).encode() if value.dtype.hasobject else value.tobytes()


def _without_addresses(text: str) -> str:
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)
