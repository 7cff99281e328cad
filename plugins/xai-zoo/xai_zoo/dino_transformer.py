"""The vision transformer of DINO, which interpolates position embeddings by the rule of its authors."""

import torch
from jaxtyping import Float
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn import functional as F

_OFFSET = 0.1


class DinoTransformer(VisionTransformer):
    """timm's vision transformer, created with `dynamic_img_size=True`, with DINO's rule for images of other sizes.

    Source: `interpolate_pos_encoding` in `vision_transformer.py` of github.com/facebookresearch/dino.
    """

    def _pos_embed(self, x: Float[Tensor, "B h w D"]) -> Float[Tensor, "B N D"]:
        assert self.cls_token is not None
        assert self.pos_embed is not None
        height, width = x.shape[1:3]
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), x.flatten(1, 2)], 1)
        return self.pos_drop(tokens + interpolated(self.pos_embed, self.patch_embed.grid_size, (height, width)))


def interpolated(
    positions: Float[Tensor, "1 M D"], size: tuple[int, int], new_size: tuple[int, int]
) -> Float[Tensor, "1 N D"]:
    """Interpolate the position embeddings after the class token from one grid (h, w) to another.

    The interpolation is bicubic, without antialiasing. Its scale factor is (n + 0.1) / m for m and n cells, so cell i
    reads from (i + 1/2) m / (n + 0.1) - 1/2.
    """
    if new_size == size:
        return positions
    grid = positions[:, 1:].unflatten(1, size).movedim(-1, 1)
    factors = [(new + _OFFSET) / old for new, old in zip(new_size, size, strict=True)]
    precise = grid.to(torch.promote_types(grid.dtype, torch.float32))
    resized = F.interpolate(precise, scale_factor=factors, mode="bicubic").to(grid.dtype)
    return torch.cat([positions[:, :1], resized.flatten(2).movedim(1, -1)], 1)
