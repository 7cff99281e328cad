"""NewPlugin: drop in the score when the most salient pixels are removed."""

import torch

import xai_core as xai
from xai_core.plugin import Evaluation, baseline_images, check_number, ranks


def without_most_salient(
    images: torch.Tensor, values: torch.Tensor, fraction: float, baseline: torch.Tensor
) -> torch.Tensor:
    """Replace the pixels of images [B,C,H,W] that have the highest `values` [B,H,W] by the baseline [B,C,H,W]."""
    removed = ranks(values) < round(fraction * values[0].numel())
    return torch.where(removed[:, None], baseline, images)


class NewPlugin(xai.Metric):
    """NewPlugin: drop in the score when the most salient pixels are removed. TODO: replace this example by your metric.

    y(x) - y(x'), where y is the target's score. In x', the most salient pixels of the image x are replaced by the
    baseline. Higher is better.

    Source: TODO: cite your source with its equation.

    Parameters
    ----------
    fraction
        Fraction of the pixels to remove, in (0, 1).
    baseline
        Replacement of the pixels: `zero`, `mean`, `blur` or `noise`.
    """

    name = "new-plugin"
    higher_is_better = True

    def __init__(self, fraction: float = 0.2, baseline: str = "mean") -> None:
        self.fraction = check_number("fraction", fraction, above=0, below=1)
        self.baseline = baseline

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Return one value per image. `evaluation.model_score` runs the model within the engine's memory budget."""
        images = evaluation.images
        baseline = baseline_images(self.baseline, images)
        original = evaluation.once(  # computed once for all explainers
            "new-plugin: original images", lambda: evaluation.model_score(images)
        )
        changed = evaluation.model_score(without_most_salient(images, saliency.values, self.fraction, baseline))
        return xai.MetricResult(original - changed)
