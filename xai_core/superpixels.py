"""Superpixels of images."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def superpixels(images: Float[Tensor, "B C *size"], segments: int, sigma: float = 0) -> Int[Tensor, "B *size"]:
    """Compute the SLIC superpixels of each image on the host, with scikit-image.

    The compactness is 10.

    Parameters
    ----------
    images
        The images or volumes.
    segments
        The approximate number of superpixels of an image.
    sigma
        The standard deviation of the Gaussian by which the images are smoothed first, in pixels.

    Returns
    -------
    Tensor
        The index of the superpixel of each pixel, from 0 without gaps, on the device of the images.
    """
    from skimage.segmentation import slic

    # the engine raises an error for NaN later, without an additional transfer to the host
    host = images.detach().float().nan_to_num().movedim(1, -1).cpu().numpy()
    labels = torch.stack([torch.from_numpy(slic(image, segments, sigma=sigma, start_label=0)) for image in host])
    return labels.to(images.device)
