"""The base of all explainers."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from xai_core.adapter import ModelAdapter
from xai_core.captured import Captured
from xai_core.plan import Capture
from xai_core.saliency import Relevance
from xai_core.spec import Spec, write_value

MADE_OF = frozenset({"explainer", "explainers"})
"""The parameters that hold what an explainer is made of."""


class Described:
    """Something made from a name and options, which can say its own spec.

    An option is a parameter of `__init__`, kept in an attribute of the same name. A parameter `explainer`, or a list
    `explainers`, is what `name(spec)`, or `name(spec,spec)`, has in its parentheses.
    """

    name: ClassVar[str]
    expected_failures: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Checks of `xai_core.testing` that it cannot pass by its nature, each with the reason."""

    @property
    def spec(self) -> str:
        """The spec that makes this object: its name and the options that differ from their defaults."""
        parameters = inspect.signature(type(self)).parameters.values()
        given = {p.name: getattr(self, p.name, p.default) for p in parameters}
        of = next((name for name in MADE_OF if name in given), "")
        made_of = given.pop(of, ())
        made_of = (made_of,) if of == "explainer" else made_of
        options = {p.name: given[p.name] for p in parameters if p.name != of and not _same(given[p.name], p.default)}
        return str(Spec(self.name, None, options, tuple(map(write_value, made_of))))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.spec}>"


def _same(option: object, default: object) -> bool:
    """Whether an option is as it is by default: the same text or number, or the same object."""
    alike = isinstance(option, str | int | float) and type(option) is type(default)
    return option is default or (alike and option == default)


class Explainer(Described, ABC):
    """A method that turns what one pass through a model gave into relevance.

    A subclass sets `name` (lower case, with hyphens), says in `needs` what it wants captured, and computes
    in `explain`. It never resizes, normalises, moves devices, registers hooks or touches the model; the
    engine does. Where the map is the same whatever the target, `targeted` is false, and the engine makes it
    once for all targets.
    """

    targeted: ClassVar[bool] = True

    @abstractmethod
    def needs(self, adapter: ModelAdapter) -> Capture:
        """Say what must be captured of one pass.

        Raises
        ------
        UnsuitableError
            Where the method is not defined for this model; the message says what to use instead.
        """

    def forwards(self, adapter: ModelAdapter) -> int:
        """About how many forwards of the model the map of one image takes; what runs them all looks before it does."""
        return 1

    @abstractmethod
    def explain(self, captured: Captured) -> Float[Tensor, "B h w"] | Relevance:
        """Give relevance [B,h,w], any range, finite, on the device that the captured tensors are on."""
