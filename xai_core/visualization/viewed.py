"""Base classes of results that keep a view of their batch, so that they can be drawn."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from jaxtyping import Bool, Float
from torch import Tensor

from xai_core.batched import Batched
from xai_core.targets.target import BoundTarget
from xai_core.visualization.view import View


class Viewed(Batched):
    """Base class of results that can be drawn, because they keep a view of their batch. The view is not saved."""

    view: View | None

    def _saved(self, name: str, value: Any) -> Any:
        return None if name == "view" else super()._saved(name, value)


class ViewedMaps(Viewed):
    """Base class of saliency maps that can be drawn. See `Saliency` for the attributes."""

    values: Float[Tensor, "B ..."]
    raw: Float[Tensor, "B ..."]
    constant: Bool[Tensor, "B *T"]
    target: BoundTarget | tuple[BoundTarget, ...]

    if TYPE_CHECKING:

        @property
        def each(self) -> Sequence[Self]: ...
