"""The order of images, windows and heads in the leading dimensions of an attention matrix."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class HeadLayout:
    """The leading dimensions of an attention matrix: [windows, heads, inner], flattened or not.

    Attributes
    ----------
    heads
        The number of heads.
    inner
        The number of windows inside of the heads, as in [B, heads, inner, N, M].
    """

    heads: int
    inner: int = 1

    @classmethod
    def of(cls, leading: Sequence[int], batch: int) -> "HeadLayout":
        """Return the usual layout of some leading dimensions.

        One dimension contains images and heads, [B * heads]. Otherwise, the last dimension contains the heads.
        """
        count = math.prod(leading)
        if len(leading) > 1:
            return cls(leading[-1])
        return cls(1 if count % batch else count // batch)

    @classmethod
    def of_token(cls, heads: Bool[Tensor, " leading"]) -> "HeadLayout | None":
        """Return the layout in which the heads of one token are at these flattened leading indices, or None."""
        indices = heads.nonzero().flatten().tolist()
        inner = indices[1] - indices[0] if len(indices) > 1 else 1
        count, span = len(indices), len(indices) * inner
        evenly = indices == list(range(indices[0], indices[0] + span, inner)) if indices else False
        if not evenly or len(heads) % span or indices[0] % span >= inner:
            return None
        return cls(count, inner)

    def arrange(self, tensor: Float[Tensor, "*leading N M"]) -> Float[Tensor, "windows heads N M"]:
        """Return a tensor as [windows, heads, N, M]. The windows of an image are adjacent."""
        folded = tensor.flatten(0, -3).unflatten(0, (-1, self.heads, self.inner))
        return folded.transpose(1, 2).flatten(0, 1)
