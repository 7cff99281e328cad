"""Base class of all explainers."""

from abc import ABC, abstractmethod
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from xai_core.capture.captured import Captured
from xai_core.capture.needs import Needs
from xai_core.configurable import Configurable
from xai_core.model.adapter import ModelAdapter
from xai_core.saliency import Relevance


class Explainer(Configurable, ABC):
    """A method that turns what one pass through a model gave into relevance.

    A subclass sets `name` (lower case, with hyphens), says in `needs` what it wants captured, and computes
    in `explain`. It never resizes, normalizes, moves devices, registers hooks or touches the model; the
    engine does. Where the map is the same whatever the target, `targeted` is false, and the engine makes it
    once for all targets.
    """

    targeted: ClassVar[bool] = True

    @abstractmethod
    def needs(self, adapter: ModelAdapter) -> Needs:
        """Say what must be captured of one pass.

        Raises
        ------
        UnsuitableError
            Where the method is not defined for this model; the message says what to use instead.
        """

    def forward_passes(self, adapter: ModelAdapter) -> int:
        """About how many forwards of the model the map of one image takes; what runs them all looks before it does."""
        return 1

    @abstractmethod
    def explain(self, captured: Captured) -> Float[Tensor, "B h w"] | Relevance:
        """Give relevance [B,h,w], any range, finite, on the device that the captured tensors are on."""
