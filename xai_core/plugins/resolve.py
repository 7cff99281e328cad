"""Keys: the names that users find results under, of what they named or gave."""

from collections.abc import Callable
from typing import Any, TypeVar

from xai_core.configurable import Configurable
from xai_core.errors import InputTypeError

D = TypeVar("D", bound=Configurable)


def by_key(given: Any, base: type[D], create: Callable[[str], Any]) -> dict[str, D]:
    """Make what is given, a name, a spec, an object or several, and give each a key.

    The key is the string as given, or the object's name; its full spec where two would share one.

    Raises
    ------
    InputTypeError
        Where something is neither a string nor an object of the class `base`.
    """
    listed = [given] if isinstance(given, str | base) else list(given)
    made: list[tuple[str, D]] = []
    for item in listed:
        if isinstance(item, str):
            if item not in dict(made):
                made.append((item, create(item)))
        elif isinstance(item, base):
            made.append((item.name, item))
        else:
            raise InputTypeError(f"expected a name, a spec or an object of class {base.__name__}, got {item!r}")
    keyed: dict[str, D] = {}
    for key, item in made:
        shared = sum(other == key for other, _ in made) > 1
        unique = item.spec if shared else key
        copies = 2
        while unique in keyed:
            unique, copies = f"{item.spec} #{copies}", copies + 1
        keyed[unique] = item
    return keyed
