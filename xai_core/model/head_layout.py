"""The order of images, windows and heads in the leading dimensions of an attention matrix."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
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

    def arrange(self, tensor: Float[Tensor, "*leading N M"]) -> Float[Tensor, "windows heads N M"]:
        """Return a tensor as [windows, heads, N, M]. The windows of an image are adjacent."""
        folded = tensor.flatten(0, -3).unflatten(0, (-1, self.heads, self.inner))
        return folded.transpose(1, 2).flatten(0, 1)
