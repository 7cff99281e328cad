"""Regions of an image: dilated segments of several scales."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

SCALES = (50, 100, 150, 250, 500, 1200)
SIGMA, MIN_SIZE = 0.8, 150
"""Smoothing and smallest segment, in pixels of the resized image."""


def regions(image: Float[Tensor, "C H W"], size: int, dilation: int) -> Bool[Tensor, "M H W"]:
    """Return the segments of an image, on the host, computed by scikit-image's Felzenszwalb algorithm at each scale.

    Parameters
    ----------
    image
        The image. Its values are rescaled to [-1,1].
    size
        The number of rows and columns to which the image is resized. The segments have the size of the image.
    dilation
        The radius in pixels by which each segment is dilated.
    """
    from skimage.segmentation import felzenszwalb

    image = image.detach().float().nan_to_num()
    low, high = image.amin(), image.amax()
    image = 2 * (image - low) / (high - low).where(high > low, 1) - 1
    square = F.interpolate(image[None], (size, size), mode="bicubic", antialias=True)[0].permute(1, 2, 0).cpu().numpy()
    masks = []
    for scale in SCALES:
        labels = torch.from_numpy(felzenszwalb(square, scale=scale, sigma=SIGMA, min_size=MIN_SIZE))
        labels = F.interpolate(labels[None, None].float(), image.shape[1:], mode="nearest-exact")[0, 0]
        masks += [labels == label for label in labels.unique()]
    return dilated(torch.stack(masks).to(image.device), dilation).cpu()


def dilated(masks: Bool[Tensor, "M H W"], radius: int) -> Bool[Tensor, "M H W"]:
    """Dilate masks by a disk."""
    offsets = torch.arange(-radius, radius + 1, device=masks.device)
    disk = (offsets**2 + offsets[:, None] ** 2 <= radius**2).float()
    return F.conv2d(masks[:, None].float(), disk[None, None], padding=radius)[:, 0] > 0.5
