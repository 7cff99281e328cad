"""Scores of images multiplied by their maps, in the protocol of Grad-CAM++ and its successors."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Evaluation, check_number, ranks
from xai_faithfulness.batch_cache import image_scores

PROBABILITY = "probability"


def masked_images(
    images: Float[Tensor, "B C *size"], values: Float[Tensor, "B *size"], mute: float = 0
) -> Float[Tensor, "B C *size"]:
    """Set the least salient fraction `mute` of each map to zero, and return each image times its map.

    If pixels are equally salient, those with the higher index are set to zero first.
    """
    if mute:
        kept = values[0].numel() - round(mute * values[0].numel())
        values = values.masked_fill(ranks(values) >= kept, 0)
    return images * values[:, None].to(images.dtype)


def masked_image_scores(evaluation: Evaluation, saliency: xai.Saliency, mute: float = 0) -> Float[Tensor, " B"]:
    """Return the target's probability for each masked image, computed once for all metrics."""
    return evaluation.once(
        ("masked image scores", saliency, mute),
        lambda: evaluation.model_score(masked_images(evaluation.images, saliency.values, mute), kind=PROBABILITY),
    )


def relative_drop(evaluation: Evaluation, saliency: xai.Saliency, mute: float = 0) -> Float[Tensor, " B"]:
    """Return max(0, Y - O) / Y. Y and O are the target's probabilities for the image and for the masked image."""
    original, masked = image_scores(evaluation, PROBABILITY), masked_image_scores(evaluation, saliency, mute)
    positive = original > 0
    return ((original - masked).clamp(min=0) / original.where(positive, 1)).where(positive, 0)


class MaskedImageMetric(xai.Metric):
    """Compares the target's probability for an image with its probability for the image times the map.

    Parameters
    ----------
    mute
        Fraction of the pixels, the least salient ones, whose saliency is first set to zero, in [0, 1). It is 0 in
        Grad-CAM++'s protocol and 0.5 in Score-CAM's.
    """

    volumes = True

    def __init__(self, mute: float = 0) -> None:
        self.mute = check_number("mute", mute, minimum=0, below=1)
