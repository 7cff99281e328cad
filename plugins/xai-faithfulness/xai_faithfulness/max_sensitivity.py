"""Max-sensitivity."""

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Evaluation
from xai_faithfulness.options import at_least, number, seed_of


class MaxSensitivity(xai.Metric):
    """Max-sensitivity: by how much a small change of the image can change the map, the largest of several tries.

    max over noise e, uniform in [-radius, radius] for each number of the image, of |R(x + e) - R(x)| / |R(x)|, with R
    the signed relevance as the method gave it, at its own size, for the target of x, and the Euclidean norm: the change
    is a share of the map's own length. Where R(x) is zero, the change itself. Lower is better; it says how stable a
    method is, not how faithful. A method that ignores the image gives 0.

    Source: Yeh et al., "On the (In)fidelity and Sensitivity of Explanations", NeurIPS 2019, definition 3.1.

    Parameters
    ----------
    radius
        Of the noise, in the normalized space that the model takes.
    samples
        Number of tries, each of which explains all images once more.
    seed
        Seed of the noise, which is the same for every image.

    Raises
    ------
    UnsuitableError
        For maps of your own, since the method that made them is not known.
    """

    name = "max-sensitivity"
    higher_is_better = False
    expected_failures: ClassVar[Mapping[str, str]] = {
        "is_invariant_to_map_scale": "the maps of an image's neighbors are made again, on their own scale",
        "better_map_scores_better": "it compares a map with those of an image's neighbors, not with the truth",
    }

    def __init__(self, radius: float = 0.02, samples: int = 10, seed: int = 0) -> None:
        self.radius = number("radius", radius, lambda radius: 0 < radius < math.inf, "above 0")
        self.samples = at_least(1, "samples", samples)
        self.seed = seed_of(seed)

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Explain images beside those of the batch, and keep the largest change."""
        images, generator = evaluation.images, torch.Generator().manual_seed(self.seed)
        most = saliency.raw.abs().amax((1, 2), keepdim=True)
        unit = most.where(most > 0, 1)  # so that no square vanishes or overflows

        def change() -> Tensor:
            noise = self.radius * (2 * torch.rand(images.shape[1:], generator=generator) - 1)
            moved = saliency.explain(images + noise.to(images, non_blocking=True))
            return (moved.raw / unit - saliency.raw / unit).flatten(1).norm(dim=1)

        largest = torch.stack([change() for _ in range(self.samples)]).amax(0)
        length = (saliency.raw / unit).flatten(1).norm(dim=1)
        return xai.MetricResult(largest / length.where(length > 0, 1))
