"""Classes by name."""

from collections.abc import Sequence

from xai_core.errors import OptionError, TargetError
from xai_core.spec import suggest


def class_name(class_id: int, names: Sequence[str] | None) -> str:
    """Return the name of a class, or `class N` if the model has no name for it."""
    return names[class_id] if names is not None and class_id < len(names) else f"class {class_id}"


def require_names_of(classes: int, names: Sequence[str] | None) -> None:
    """Require a name for each class, if the names are known.

    Raises
    ------
    OptionError
        If the number of names differs from the number of classes.
    """
    if names is not None and len(names) != classes:
        raise OptionError(
            f"the model has {classes} classes, but {len(names)} class names; pass labels= with one name per class"
        )


def find_class(name: str, names: Sequence[str] | None) -> int:
    """Return the id of the class with that name, in any case.

    Raises
    ------
    TargetError
        If the names are not known, no class has that name, or several classes have it.
    """
    if names is None:
        raise TargetError(f"this model has no class names: pass a class id instead of {name!r}")
    ids = [class_id for class_id, known in enumerate(names) if known.casefold() == name.casefold()]
    if not ids:
        similar = [known for known in names if name.casefold() in known.casefold()] or names
        raise TargetError(f"the model has no class {name!r}; {suggest(name, similar)}")
    if len(ids) > 1:
        raise TargetError(f"{len(ids)} classes have the name {name!r}: pass an id, {' or '.join(map(str, ids))}")
    return ids[0]
