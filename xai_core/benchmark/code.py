"""Names the code of objects of one's own, so that a run does not go on with another."""

import hashlib
from collections.abc import Hashable
from types import CodeType, FunctionType

from xai_core.explainer import Explainer
from xai_core.metric import Metric


def code_hash(one: Explainer | Metric) -> str:
    """Name what the methods of an object's class do: 64 hexadecimal digits, the same wherever the class is written.

    What they call outside of their class is not looked at.
    """
    content = []
    for kind in type(one).__mro__:
        if not kind.__module__.startswith("xai_core."):
            functions = [vars(kind)[name] for name in sorted(vars(kind)) if isinstance(vars(kind)[name], FunctionType)]
            content += [_content(function.__code__) for function in functions]
    return hashlib.sha256(repr(content).encode()).hexdigest()


def _content(code: CodeType) -> Hashable:
    """What is done, without where it stands."""
    return code.co_name, code.co_code, code.co_names, tuple(map(_constant, code.co_consts))


def _constant(value: object) -> Hashable:
    if isinstance(value, CodeType):
        return _content(value)
    return tuple(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)
