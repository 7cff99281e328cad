"""Malformed files: random changes of valid ones.

`XAI_FUZZ_EXAMPLES=1000 pytest -k fuzz` tries 1,000 random files of each format. Without the variable, 30 files are
tried, the same in each run.
"""

import copy
import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

_EXAMPLES = os.environ.get("XAI_FUZZ_EXAMPLES")
JUNK: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 3, 2**31, 10**30, -(2**63), 0.5, 1e308, float("nan"), float("inf")),
    *("", "x", "1", "\0", "../x", "a" * 300, "\ud800", "é"),
    *([], [[]], [1], [1, 2, 3, 4], ["1"], [None], {}, {"a": 1}, {"id": 1}),
)
"""Values that replace any part of a document."""


def examples(share: float = 1) -> Callable[[Any], Any]:
    """Return a decorator that sets the number of examples. By default, slow tests try only a share of 30."""
    count = round(share * 30) if _EXAMPLES is None else int(_EXAMPLES)
    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=_EXAMPLES is None,
        suppress_health_check=list(HealthCheck),  # fixtures are shared by all examples, which write their own files
    )


@st.composite
def changed_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """Draw a copy with one to four changes: bytes are replaced, removed, repeated or inserted, or the end is cut."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, max(0, len(content) - 1)))
        end = min(len(content), start + draw(st.integers(1, 40)))
        part = draw(st.sampled_from(["replace", "remove", "repeat", "insert", "cut"]))
        if part == "replace":
            content = content[:start] + draw(st.binary(min_size=1, max_size=8)) + content[start + 1 :]
        elif part == "remove":
            content = content[:start] + content[end:]
        elif part == "repeat":
            content = content[:end] + content[start:end] + content[end:]
        elif part == "insert":
            content = content[:start] + draw(st.binary(min_size=1, max_size=40)) + content[start:]
        else:
            content = content[:start]
    return content


@st.composite
def changed_document(draw: st.DrawFn, document: Any, junk: tuple[Any, ...] = JUNK) -> Any:
    """Draw a copy of a document of dicts and lists with one to three changes: parts are replaced, removed or copied."""
    root = [copy.deepcopy(document)]
    for _ in range(draw(st.integers(1, 3))):
        within, key = draw(st.sampled_from(list(_places(root))))
        change = draw(st.sampled_from(["replace", "replace", "remove", "copy"]))
        if change == "remove" and within is not root:
            del within[key]
        elif change == "copy":
            other, at = draw(st.sampled_from(list(_places(root))))
            within[key] = copy.deepcopy(other[at])
        else:
            within[key] = copy.deepcopy(draw(st.sampled_from(junk)))
    return root[0]


def _places(value: Any) -> Any:
    """Yield each part of a document, as its container and its key or index."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])
