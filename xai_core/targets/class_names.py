"""Targets with class names, converted to class ids."""

from collections.abc import Sequence
from functools import partial

from xai_core.data.class_names import find_class
from xai_core.targets.target import Target, TargetLike, replace_names


def named_classes(target: TargetLike, names: Sequence[str] | None) -> TargetLike:
    """Return a target with class ids in place of class names.

    Parameters
    ----------
    target
        The target as the user passed it.
    names
        The names of the model's classes, or None if they are not known.

    Raises
    ------
    TargetError
        If the names are not known, no class has that name, or several classes have it.
    """
    id_of = partial(find_class, names=names)
    return target.with_ids(id_of) if isinstance(target, Target) else replace_names(target, id_of)
