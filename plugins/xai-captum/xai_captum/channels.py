"""From an attribution to every pixel and channel to one number a place."""

from jaxtyping import Float
from torch import Tensor

from xai_core.plugin import OptionError

CHANNELS = ("sum", "positive", "abs", "max", "norm")


def checked(how: str) -> str:
    """The way as it is.

    Raises
    ------
    OptionError
        Where there is no such way.
    """
    if how not in CHANNELS:
        raise OptionError(f"channels must be one of {', '.join(CHANNELS)}, not {how!r}")
    return how


def over_channels(attribution: Float[Tensor, "B C h w"], how: str) -> Float[Tensor, "B h w"]:
    """Reduce channels: one number a place.

    `sum`, with its sign, which adds up to what the attribution adds up to; `positive`, what of that sum is for the
    target; `abs`, the sum of the magnitudes; `max`, the largest magnitude; `norm`, the Euclidean norm.

    Attributions that share out the score (integrated gradients, DeepLIFT, LRP, SHAP, ablations) are for the target or
    against it, so that `positive` is their default: what Grad-CAM's ReLU keeps. The sign of a gradient says only which
    way a pixel would have to change, so that gradients have `abs`, as captum's own saliency takes magnitudes.
    """
    match checked(how):
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
