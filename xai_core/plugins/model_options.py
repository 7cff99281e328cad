"""Options that all model sources share: `labels`, and `checkpoint` as another name of `weights`."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from xai_core.data.labels import read_labels
from xai_core.data.sources import LoadedModel
from xai_core.errors import OptionError
from xai_core.spec import Spec, Value, parse

LABELS = "labels"


def shared_options(
    load: Callable[..., LoadedModel], options: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str] | None]:
    """Return the options for the `load` of a source, and the class names of `labels`.

    Options that `load` names are passed to it unchanged.

    Raises
    ------
    OptionError, FileError
        If the labels cannot be read, or both `checkpoint` and `weights` are set.
    """
    own, remaining = inspect.signature(load).parameters, dict(options)
    labels = None if LABELS in own else remaining.pop(LABELS, None)
    if "checkpoint" in remaining and "weights" in own and "checkpoint" not in own:
        if "weights" in remaining:
            raise OptionError("weights= and checkpoint= are the same option; set one of them")
        remaining["weights"] = remaining.pop("checkpoint")
    return remaining, None if labels is None else read_labels(labels)


def with_labels(loaded: LoadedModel, names: list[str], labels: Value | object) -> LoadedModel:
    """Return a loaded model with class names, whose spec has the option `labels`."""
    spec = parse(loaded.spec) if loaded.spec else None
    text = "" if spec is None else str(Spec(spec.head, spec.name, {**spec.options, LABELS: _value(labels)}, spec.of))
    return replace(loaded, class_names=names, spec=text)


def _value(labels: object) -> Any:
    return labels if isinstance(labels, list | tuple) else str(labels)
