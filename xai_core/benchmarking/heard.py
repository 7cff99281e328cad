"""Warnings of the engine that a run keeps in its own way."""

import contextlib
import warnings
from collections.abc import Iterator

from xai_core.errors import ConstantMapWarning, OutOfMemoryWarning


@contextlib.contextmanager
def heard(notes: dict[str, None]) -> Iterator[None]:
    """Take note of memory that ran out, each once, in place of a warning; flat maps have a column of their own.

    All other warnings are given after what is inside.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("ignore", ConstantMapWarning)
        warnings.simplefilter("always", OutOfMemoryWarning)
        try:
            yield
        finally:
            notes |= {str(one.message): None for one in said if one.category is OutOfMemoryWarning}
    for one in said:
        if one.category is not OutOfMemoryWarning:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno, source=one.source)
