"""NewPlugin: what the score loses with the most salient pixels."""

import torch

import xai_core as xai
from xai_core.errors import OptionError
from xai_core.plugin import Evaluation, baseline_images, ranks


def without_most_salient(
    images: torch.Tensor, values: torch.Tensor, share: float, baseline: torch.Tensor
) -> torch.Tensor:
    """Images [B,C,H,W] whose most salient pixels by `values` [B,H,W] are those of the baseline [B,C,H,W]."""
    removed = ranks(values) < round(share * values[0].numel())
    return torch.where(removed[:, None], baseline, images)


class NewPlugin(xai.Metric):
    """NewPlugin: what the target's score loses with the most salient pixels. It is an example; put your metric here.

    y(x) - y(x'), with x' the image x in which the share `share` of the pixels, the most salient, is replaced by the
    baseline. Higher is better.

    Source: name your own: paper, year, equation.

    Parameters
    ----------
    share
        Of the pixels, in (0, 1).
    baseline
        What pixels are replaced by: `zero`, `mean`, `blur` or `noise`.
    """

    name = "new-plugin"
    higher_is_better = True

    def __init__(self, share: float = 0.2, baseline: str = "mean") -> None:
        if not 0 < share < 1:
            raise OptionError(f"share is a part of the pixels and must be in (0, 1), got {share}")
        self.share = share
        self.baseline = baseline

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Give one number for each image; `evaluation.model_score` stays within the memory budget."""
        images = evaluation.images
        baseline = baseline_images(self.baseline, images)
        # one score of the original images serves the maps of all explainers
        whole = evaluation.once("new-plugin: whole images", lambda: evaluation.model_score(images))
        less = evaluation.model_score(without_most_salient(images, saliency.values, self.share, baseline))
        return xai.MetricResult(whole - less)
