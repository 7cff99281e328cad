"""The order of images, windows and heads in the leading dimensions of an attention matrix."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class HeadLayout:
    """The leading dimensions of an attention matrix: images, outer windows, heads and inner windows, flattened or not.

    Attributes
    ----------
    heads
        The number of heads.
    inner
        The number of windows inside of the heads, as in [B, heads, inner, N, M].
    images
        The dimension that contains the images.
    outside
        The number of indices before the images if this dimension is flattened, such as `heads` in [heads * B, N, M].
    """

    heads: int
    inner: int = 1
    images: int = 0
    outside: int = 1

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
        """Return the layout in which one token's attention heads have these flattened leading indices, or None."""
        indices = heads.nonzero().flatten().tolist()
        inner = indices[1] - indices[0] if len(indices) > 1 else 1
        count, span = len(indices), len(indices) * inner
        evenly = indices == list(range(indices[0], indices[0] + span, inner)) if indices else False
        if not evenly or len(heads) % span or indices[0] % span >= inner:
            return None
        return cls(count, inner)

    def with_images(self, one: Float[Tensor, "*leading n"], two: Float[Tensor, "*leading2 n"]) -> "HeadLayout | None":
        """Return the layout with the dimension of the images, or None if it is not known.

        Parameters
        ----------
        one, two
            A tensor of one image, and the same tensor of two images, the first of which is this image.
        """
        longer = [dim for dim in range(one.ndim - 1) if two.shape[dim] == 2 * one.shape[dim]]
        if len(longer) != 1 or one.ndim != two.ndim:
            return None
        [dim] = longer
        for outside in range(1, one.shape[dim] + 1):
            if one.shape[dim] % outside == 0:
                first = two.unflatten(dim, (outside, 2, -1)).select(dim + 1, 0).flatten(dim, dim + 1)
                if torch.allclose(first, one, rtol=1e-2, atol=1e-4):
                    return replace(self, images=dim, outside=outside)
        return None

    def arrange(self, tensor: Float[Tensor, "*leading N M"], batch: int) -> Float[Tensor, "windows heads N M"]:
        """Return a tensor as [windows, heads, N, M]. The windows of an image are adjacent."""
        if self.images or self.outside > 1:
            tensor = tensor.unflatten(self.images, (self.outside, batch, -1)).movedim(self.images + 1, 0)
        folded = tensor.flatten(0, -3).unflatten(0, (-1, self.heads, self.inner))
        return folded.transpose(1, 2).flatten(0, 1)
