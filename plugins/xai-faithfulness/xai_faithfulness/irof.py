"""IROF, iterative removal of features."""

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Baseline, Evaluation, check_choice, check_integer, check_seed, ranks, superpixels, wide
from xai_faithfulness.batch_cache import baseline_scores, baselines, image_scores
from xai_faithfulness.curves import score_curve
from xai_faithfulness.ranking import TIES

PROBABILITY = "probability"


class Superpixels(NamedTuple):
    """Superpixels of a batch of images.

    Attributes
    ----------
    labels
        The segment of each pixel.
    counts
        Number of segments of each image.
    most
        The largest of these numbers.
    """

    labels: Int[Tensor, "B H W"]
    counts: Int[Tensor, " B"]
    most: int


class IROF(xai.Metric):
    """Iterative removal of features: the probability lost while the most salient superpixels show the mean color.

    Superpixels are ranked by the mean of the map over them. The value is the area over the curve of F(x_l) / F(x_0),
    divided by the number L of the image's superpixels. The area is computed by the trapezoidal rule over l = 0 ... L.
    It is the average fraction of the probability that is lost along the curve. Higher is better. A constant model
    results in 0, and so does an image whose probability is 0.

    If the target is a callable or a `Target` object, F is its value and must be positive. An image whose F(x_0) is not
    positive scores 0 for any map.

    Superpixels are computed by scikit-image's SLIC with its compactness of 10 and no smoothing, from the images that
    the model receives. This runs on the host, image by image, once for all maps of a batch.

    Source: Rieger and Hansen, "IROF: a low resource evaluation metric for explanation methods", ICLR workshops 2020.

    Parameters
    ----------
    segments
        Approximate number of superpixels of an image.
    baseline
        Replacement of removed pixels, as for deletion. Default: the mean color of each image.
    ties
        Order of equally salient superpixels: `stable` (by index) or `random` (by `seed`).
    seed
        Random seed of random ties and of the noise.
    """

    name = "irof"
    higher_is_better = True
    expected_failures: ClassVar[Mapping[str, str]] = {
        "avoids_host_transfers": "scikit-image computes SLIC superpixels on the host",
    }

    def __init__(self, segments: int = 100, baseline: Baseline = "mean", ties: str = "stable", seed: int = 0) -> None:
        self.segments = check_integer("segments", segments, 1)
        self.baseline = baseline
        self.ties = check_choice("ties", ties, TIES)
        self.seed = check_seed(seed)

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Remove superpixels in the order of their saliency and compute the area over the curve."""
        images = evaluation.images
        labels, counts, most = evaluation.once(
            ("superpixels", self.segments), lambda: superpixels_of(images, self.segments)
        )
        means = segment_means(saliency.values, labels, most)
        segment_ranks = ranks(means[:, None], self.ties, self.seed)[:, 0]
        pixel_ranks = segment_ranks.gather(1, labels.flatten(1)).view_as(labels)
        replacement = baselines(evaluation, self.baseline, self.seed)
        first = image_scores(evaluation, PROBABILITY)
        ends = (first, baseline_scores(evaluation, self.baseline, self.seed, PROBABILITY))
        curve = score_curve(evaluation.model_score, images, replacement, pixel_ranks, range(most + 1), ends)
        positive = first > 0
        ratio = curve / first.where(positive, 1)[:, None]
        lost = area_over(ratio, counts)
        return xai.MetricResult(lost.where(positive, 0))


def superpixels_of(images: Float[Tensor, "B C H W"], segments: int) -> Superpixels:
    """Compute the superpixels of each image and count them."""
    labels = superpixels(images, segments)
    counts = labels.amax((1, 2)) + 1
    return Superpixels(labels, counts, int(counts.max()))


def segment_means(values: Float[Tensor, "B H W"], labels: Int[Tensor, "B H W"], most: int) -> Float[Tensor, "B S"]:
    """Return the mean of each map over each segment, or -1 for segments that an image does not have.

    It is computed in float64 if the device supports it. Segments with equal values then have equal means, in any
    order of summation.
    """
    flat, segment = wide(values).flatten(1), labels.flatten(1)
    sums, pixels = (
        flat.new_zeros(len(flat), most).scatter_add_(1, segment, terms) for terms in (flat, torch.ones_like(flat))
    )
    return (sums / pixels).where(pixels > 0, -1)


def area_over(curve: Float[Tensor, "B S"], steps: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Return one minus the area under the first `steps` steps of each curve, divided by their number."""
    points = torch.arange(curve.shape[1], device=curve.device)
    steps = steps[:, None]
    weights = (points <= steps).to(curve.dtype) - ((points == 0) | (points == steps)).to(curve.dtype) / 2
    return 1 - (weights * curve).sum(1) / steps[:, 0]
