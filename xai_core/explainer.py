"""Base class of explainers."""

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
    """Base class of explainers, which compute relevance from one pass through a model.

    A subclass sets `name` (lower case, with hyphens), declares in `needs` what to capture, and computes the relevance
    in `explain`. It does not resize, normalize or move maps, and does not register hooks or change the model: the
    engine does this. If the map does not depend on the target, the subclass sets `targeted` to False, and the engine
    computes the map once for all targets.
    """

    targeted: ClassVar[bool] = True

    @abstractmethod
    def needs(self, adapter: ModelAdapter) -> Needs:
        """Return what to capture during the pass.

        Raises
        ------
        UnsuitableError
            If the method is not defined for this model. The message suggests another method.
        """

    def forward_passes(self, adapter: ModelAdapter) -> int:
        """Return the approximate number of forward passes per image. Callers use it to skip expensive methods."""
        return 1

    @abstractmethod
    def explain(self, captured: Captured) -> Float[Tensor, "B *grid"] | Relevance:
        """Return relevance [B,h,w], finite, of any range, on the device of the captured tensors.

        Relevance for volumes is [B,d,h,w].
        """
