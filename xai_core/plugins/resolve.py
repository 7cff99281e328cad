"""Methods and metrics from names, specs and objects, with the keys of their results."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from torch import Tensor

from xai_core.configurable import Configurable
from xai_core.errors import InputTypeError, OptionError
from xai_core.explainer import Explainer
from xai_core.metric import Metric
from xai_core.plugins.names import checked_name, checked_spec
from xai_core.plugins.registry import origin
from xai_core.spec import split

D = TypeVar("D", bound=Configurable)


def by_key(requested: Any, base: type[D], create: Callable[[str], Any]) -> dict[str, D]:
    """Create what a user passed as methods or metrics, with a key for each.

    Parameters
    ----------
    requested
        A name or spec, a comma-separated list of these, an object, an iterable of these, or a mapping from keys to
        these.
    base
        `Explainer` or `Metric`.
    create
        Creates an object from a spec.

    Returns
    -------
    dict
        The key of a spec is the spec as it was passed. The key of an object is its name, or its full spec if several
        objects share the name.

    Raises
    ------
    InputTypeError
        If something is neither a string nor an object of the class `base`.
    OptionError
        If there is nothing to create.
    PluginContractError
        If the name of an object is not valid.
    """
    if isinstance(requested, Mapping):
        return {key: create(item) if isinstance(item, str) else _object(item, base) for key, item in requested.items()}
    if isinstance(requested, str | base):
        requested = [requested]
    elif isinstance(requested, type | Tensor | Configurable) or not isinstance(requested, Iterable):
        raise _wrong_type(requested, base)
    created: list[tuple[str, D]] = []
    for item in requested:
        if isinstance(item, str):
            specs = split(item)
            for spec in specs if len(specs) > 1 else [item]:
                if spec not in dict(created):
                    created.append((spec, create(spec)))
        else:
            created.append((checked_name(_object(item, base), origin(item)), item))
    if not created:
        raise OptionError(f"{_argument(base)} is empty; expected at least one name, spec or {base.__name__} object")
    return _unique(created)


def _unique(created: list[tuple[str, D]]) -> dict[str, D]:
    """Make keys unique: if objects share a key, use their specs, numbered if the specs are equal too."""
    keyed: dict[str, D] = {}
    for key, item in created:
        is_shared = sum(other == key for other, _ in created) > 1
        unique = checked_spec(item, origin(item)) if is_shared else key
        copies = 2
        while unique in keyed:
            unique, copies = f"{checked_spec(item, origin(item))} #{copies}", copies + 1
        keyed[unique] = item
    return keyed


def _object(item: Any, base: type[D]) -> D:
    if not isinstance(item, base):
        raise _wrong_type(item, base)
    return item


def _argument(base: type[Configurable]) -> str:
    return "metrics" if issubclass(base, Metric) else "methods"


def _wrong_type(requested: object, base: type[Configurable]) -> InputTypeError:
    """Return the error for a value that is neither a method nor a metric, with the most likely correction."""
    argument = _argument(base)
    hint = f"`list_{'metrics' if argument == 'metrics' else 'explainers'}()` returns the names"
    if isinstance(requested, type) and issubclass(requested, base):
        hint = f"pass an object of the class, `{requested.__name__}()`, or its name {getattr(requested, 'name', '')!r}"
    elif isinstance(requested, int | Tensor) and argument == "methods":
        hint = f"to explain a class, pass its id as `target={requested if isinstance(requested, int) else '...'}`"
    elif isinstance(requested, Explainer | Metric):
        is_metric = isinstance(requested, Metric)
        hint = f"pass a {'metric' if is_metric else 'method'} to `Engine.{'evaluate' if is_metric else 'explain'}`"
    received = f"a tensor {list(requested.shape)}" if isinstance(requested, Tensor) else repr(requested)[:80]
    return InputTypeError(
        f"{argument}: expected a name, a spec, an object of class {base.__name__}, or a list of these; "
        f"got {received}: {hint}"
    )
