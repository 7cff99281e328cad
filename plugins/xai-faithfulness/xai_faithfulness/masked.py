"""The image under its map, as Grad-CAM++ and those after it score maps: each pixel times its saliency."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Evaluation, ranks
from xai_faithfulness.blending import whole_score
from xai_faithfulness.options import number

PROBABILITY = "probability"


def masked_images(
    images: Float[Tensor, "B C H W"], values: Float[Tensor, "B H W"], mute: float = 0
) -> Float[Tensor, "B C H W"]:
    """Each image times its map, in which the share `mute` of the least salient pixels, those of later index where
    they are equal, is zero.
    """
    if mute:
        kept = values[0].numel() - round(mute * values[0].numel())
        values = values.masked_fill(ranks(values) >= kept, 0)
    return images * values[:, None].to(images.dtype)


def masked_score(evaluation: Evaluation, saliency: xai.Saliency, mute: float = 0) -> Float[Tensor, " B"]:
    """The probability of each image times its map, computed once for all metrics."""
    return evaluation.once(
        ("masked score", saliency, mute),
        lambda: evaluation.model_score(masked_images(evaluation.images, saliency.values, mute), kind=PROBABILITY),
    )


def drop(evaluation: Evaluation, saliency: xai.Saliency, mute: float = 0) -> Float[Tensor, " B"]:
    """The share of the image's probability that the image times its map has lost: max(0, Y - O) / Y."""
    whole, masked = whole_score(evaluation, PROBABILITY), masked_score(evaluation, saliency, mute)
    some = whole > 0
    return ((whole - masked).clamp(min=0) / whole.where(some, 1)).where(some, 0)


class Masking(xai.Metric):
    """A comparison of the image's probability with that of the image times its map.

    Parameters
    ----------
    mute
        The share of the pixels, the least salient, whose saliency is set to zero first, in [0, 1): none in
        Grad-CAM++'s protocol, 0.5 in Score-CAM's.
    """

    def __init__(self, mute: float = 0) -> None:
        self.mute = number("mute", mute, lambda mute: 0 <= mute < 1, "in [0, 1), the share of pixels that are muted")
