"""IROF, iterative removal of features."""

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Baseline, Evaluation, ranks
from xai_faithfulness.blending import blank_of, blank_score, whole_score
from xai_faithfulness.curves import curve
from xai_faithfulness.options import at_least, one_of, seed_of

PROBABILITY = "probability"


class Superpixels(NamedTuple):
    """The segment of each pixel, how many segments each image has, and the most that one has."""

    labels: Int[Tensor, "B H W"]
    counts: Int[Tensor, " B"]
    most: int


class IROF(xai.Metric):
    """Iterative removal of features: the probability while the most salient superpixels take the mean color.

    Superpixels are ranked by the mean of the map over them, most salient first. The value is the area over the curve
    of F(x_l) / F(x_0), l = 0 ... L, by the trapezoid rule, the start included, divided by the number L of the image's
    superpixels: the share of the probability that is lost, on the mean along the way. Higher is better; a constant
    model gives 0, and so does an image whose probability is 0, which has nothing to lose. Where the target is a
    callable or a question, F is what it gives and must be positive: an image whose F(x_0) is not gets 0, whatever the
    map.

    The superpixels are SLIC's, by scikit-image with its compactness of 10 and no smoothing, of the images as the model
    takes them. That runs on the host, image by image, once for a batch and all maps of it.

    Source: Rieger and Hansen, "IROF: a low resource evaluation metric for explanation methods", ICLR workshops 2020.

    Parameters
    ----------
    segments
        About how many superpixels an image has.
    baseline
        What stands for no information, as for deletion; the default is each image's mean color.
    ties
        Order of equally salient superpixels: `stable` (by number) or `random` (by `seed`).
    seed
        Seed of random ties and of noise.
    """

    name = "irof"
    higher_is_better = True
    expected_failures: ClassVar[Mapping[str, str]] = {
        "avoids_host_transfers": "SLIC's superpixels are scikit-image's, which computes on the host",
    }

    def __init__(self, segments: int = 100, baseline: Baseline = "mean", ties: str = "stable", seed: int = 0) -> None:
        self.segments = at_least(1, "segments", segments)
        self.baseline = baseline
        self.ties = one_of("ties", ties, "stable", "random")
        self.seed = seed_of(seed)

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Remove superpixels in the order of their saliency, and integrate what is lost."""
        images = evaluation.images
        labels, counts, most = evaluation.once(
            ("superpixels", self.segments), lambda: superpixels(images, self.segments)
        )
        means = segment_means(saliency.values, labels, most)
        segment_ranks = ranks(means[:, None], self.ties, self.seed)[:, 0]
        pixel_ranks = segment_ranks.gather(1, labels.flatten(1)).view_as(labels)
        blank = blank_of(evaluation, self.baseline, self.seed)
        whole = whole_score(evaluation, PROBABILITY)
        ends = (whole, blank_score(evaluation, self.baseline, self.seed, PROBABILITY))
        walked = curve(evaluation.model_score, images, blank, pixel_ranks, range(most + 1), ends)
        some = whole > 0
        ratio = walked / whole.where(some, 1)[:, None]
        lost = area_over(ratio, counts)
        return xai.MetricResult(lost.where(some, 0))


def superpixels(images: Float[Tensor, "B C H W"], segments: int) -> Superpixels:
    """SLIC superpixels of each image, made on the host."""
    from skimage.segmentation import slic

    host = images.float().nan_to_num().permute(0, 2, 3, 1).cpu().numpy()  # the engine refuses NaN when it reads
    labels = torch.stack([torch.from_numpy(slic(image, segments, start_label=0)) for image in host])
    counts = labels.amax((1, 2)) + 1
    return Superpixels(labels.to(images.device), counts.to(images.device), int(counts.max()))


def segment_means(values: Float[Tensor, "B H W"], labels: Int[Tensor, "B H W"], most: int) -> Float[Tensor, "B S"]:
    """The mean of each map over each segment; -1, less than that of any, for the numbers that an image lacks.

    In float64, so that the order in which a device adds up does not decide between equal segments.
    """
    flat, of = values.double().flatten(1), labels.flatten(1)
    sums, pixels = (flat.new_zeros(len(flat), most).scatter_add_(1, of, one) for one in (flat, torch.ones_like(flat)))
    return (sums / pixels).where(pixels > 0, -1)


def area_over(curve: Float[Tensor, "B S"], steps: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
    """One minus the area under the first `steps` steps of each curve, divided by their number."""
    points = torch.arange(curve.shape[1], device=curve.device)
    steps = steps[:, None]
    weights = (points <= steps).to(curve.dtype) - ((points == 0) | (points == steps)).to(curve.dtype) / 2
    return 1 - (weights * curve).sum(1) / steps[:, 0]
