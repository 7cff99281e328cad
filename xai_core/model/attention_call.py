"""Calls of attention in a forward pass: their dimensions, and whether they affect the scores."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from xai_core.errors import UnsuitableError
from xai_core.model.attention import AttentionLayer
from xai_core.model.head_layout import HeadLayout
from xai_core.model.locations import Locations

FEATURE_MAPS = "a method for feature maps, such as grad-cam"


@dataclass(frozen=True)
class AttentionCall:
    """One attention of each forward pass.

    Attributes
    ----------
    module
        The name of the module that computes it. It is empty if this is the model itself.
    around
        The names of the modules around it, outermost first.
    queries, keys, windows
        The number of queries and keys of a window, and the number of windows per image.
    from_images
        Whether it depends on the images.
    on_path
        Whether it lies between the images and the scores.
    is_plain
        Whether its dimensions are [B, heads, N, M], or do not contain images.
    layout
        The order of its windows and heads. None for the usual order.
    is_signed
        Whether some weights are negative, because the model changes them after the softmax.
    key_locations
        If it has one query, the locations of its keys, or None if they are not known.
    """

    module: str
    around: tuple[str, ...]
    queries: int
    keys: int
    windows: int
    from_images: bool
    on_path: bool
    is_plain: bool
    layout: HeadLayout | None
    is_signed: bool = False
    key_locations: Locations | None = None

    def is_in(self, module: str) -> bool:
        """Return whether a module, or another module in it, computes this attention. The name "" is the model."""
        return not module or module in self.around

    def __str__(self) -> str:
        return f"the attention in {self.module!r}" if self.module else "the attention of the model itself"

    def layout_of_batches(self, one: Float[Tensor, "*leading n"], two: Float[Tensor, "*leading2 n"]) -> HeadLayout:
        """Return the layout with the dimension of the images. See `HeadLayout.with_images`.

        Raises
        ------
        UnsuitableError
            If the dimension of the images cannot be distinguished from windows and heads.
        """
        layout = (self.layout or HeadLayout.of(one.shape[:-1], 1)).with_images(one, two)
        if layout is None:
            raise UnsuitableError(
                f"the batch dimension of {self} cannot be distinguished from the dimensions of windows and heads; pass "
                f"one image at a time, or use {FEATURE_MAPS}"
            )
        return layout

    @property
    def of_one_query(self) -> bool:
        """Return whether one query, such as a separate class token, attends to several keys."""
        return self.queries == 1 < self.keys

    @property
    def instead(self) -> str:
        """Alternative that an error message suggests if the layer does not attend over all tokens."""
        return f"class-attention, or {FEATURE_MAPS}" if self.of_one_query else FEATURE_MAPS


def require_same_calls(calls: Sequence[AttentionCall], layers: Sequence[AttentionLayer], is_complete: bool) -> None:
    """Require that a forward pass runs the attention layers that the probe observed.

    Raises
    ------
    UnsuitableError
        If it runs different attention layers, or the same layers with different numbers of queries or keys.
    """
    same = all(
        (call.queries, call.keys) == (layer.queries, layer.keys) for call, layer in zip(calls, layers, strict=False)
    )
    if not same or len(layers) > len(calls) or (is_complete and len(layers) < len(calls)):
        raise UnsuitableError(
            "the model runs different attention layers for this batch than for one image, or the same layers with "
            f"different numbers of queries or keys; use {FEATURE_MAPS}"
        )
