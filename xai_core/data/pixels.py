"""Tensors of pixels converted to images of Pillow."""

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor


def to_pil(image: Float[Tensor, "C H W"]) -> Image.Image:
    """Convert an image with values in [0,1] to an RGB image of Pillow. Only the first three channels are shown."""
    channels = image[:3] if len(image) >= 3 else image[:1].expand(3, -1, -1)
    values = channels.detach().float().clamp(0, 1).permute(1, 2, 0).cpu().numpy()
    return Image.fromarray((values * 255).round().astype(np.uint8))
