"""Reduction of an attribution for every pixel and channel to one number per pixel."""

from jaxtyping import Float
from torch import Tensor

CHANNELS = ("sum", "positive", "abs", "max", "norm")
"""Ways to reduce channels: see `reduce_channels`."""


def reduce_channels(attribution: Float[Tensor, "B C *grid"], how: str) -> Float[Tensor, "B *grid"]:
    """Reduce the channels to one number per pixel.

    The default of a method depends on the meaning of its attributions. Methods that distribute the score (integrated
    gradients, DeepLIFT, LRP, SHAP, ablations) attribute positive and negative contributions. Their default is
    `positive`, which corresponds to Grad-CAM's ReLU. The sign of a gradient only shows in which direction a pixel would
    have to change. The default of gradients is `abs`, as in captum's saliency.

    Parameters
    ----------
    attribution
        The attribution of every pixel and channel.
    how
        `sum`: the signed sum, which preserves the total of the attribution. `positive`: the positive part of this sum.
        `abs`: the sum of magnitudes. `max`: the largest magnitude. `norm`: the Euclidean norm.
    """
    match how:
        case "sum":
            return attribution.sum(1)
        case "positive":
            return attribution.sum(1).relu()
        case "abs":
            return attribution.abs().sum(1)
        case "max":
            return attribution.abs().amax(1)
        case _:
            return attribution.norm(dim=1)
