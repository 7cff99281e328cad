"""Max-sensitivity."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Evaluation, check_integer, check_number, check_seed


class MaxSensitivity(xai.Metric):
    """Max-sensitivity: the largest relative change of the map under several small random changes of the image.

        max over noise e of |R(x + e) - R(x)| / |R(x)|

    R is the method's signed relevance for the target of x, at its own resolution. The norm is Euclidean. The noise is
    uniform in [-radius, radius] for each channel of each pixel. If R(x) is zero, the value is the absolute change.
    Lower is better. The metric measures stability, not faithfulness. A method that ignores the image scores 0.

    Source: Yeh et al., "On the (In)fidelity and Sensitivity of Explanations", NeurIPS 2019, definition 3.1.

    Parameters
    ----------
    radius
        Bound of the noise, in units of the model's input.
    samples
        Number of noisy images. For each, all images are explained once more.
    seed
        Random seed of the noise, which is the same for every image.

    Raises
    ------
    UnsuitableError
        If the maps were not computed by an engine, because the metric must explain other images with the same method.
    """

    name = "max-sensitivity"
    higher_is_better = False
    expected_failures: ClassVar[Mapping[str, str]] = {
        "is_invariant_to_map_scale": "the maps of noisy images are computed by the method, so they are not scaled",
        "better_map_scores_better": "maps are compared with maps of changed images, not with the ground truth",
    }

    def __init__(self, radius: float = 0.02, samples: int = 10, seed: int = 0) -> None:
        self.radius = check_number("radius", radius, above=0)
        self.samples = check_integer("samples", samples, 1)
        self.seed = check_seed(seed)

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Explain noisy copies of the images and return the largest change of the maps."""
        images, generator = evaluation.images, torch.Generator().manual_seed(self.seed)
        largest_value = saliency.raw.abs().amax((1, 2), keepdim=True)
        unit = largest_value.where(largest_value > 0, 1)  # prevents underflow and overflow of the squares

        def change() -> Tensor:
            noise = self.radius * (2 * torch.rand(images.shape[1:], generator=generator) - 1)
            noisy = saliency.explain(images + noise.to(images, non_blocking=True))
            return (noisy.raw / unit - saliency.raw / unit).flatten(1).norm(dim=1)

        largest_change = torch.stack([change() for _ in range(self.samples)]).amax(0)
        norm = (saliency.raw / unit).flatten(1).norm(dim=1)
        return xai.MetricResult(largest_change / norm.where(norm > 0, 1))
