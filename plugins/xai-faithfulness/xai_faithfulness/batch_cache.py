"""Scores and baseline images that several metrics of a batch share, computed once."""

from jaxtyping import Float
from torch import Tensor

from xai_core.plugin import Baseline, Evaluation, baseline_images


def image_scores(evaluation: Evaluation, kind: str) -> Float[Tensor, " B"]:
    """Return the scores of the original images."""
    return evaluation.once(("score", kind), lambda: evaluation.model_score(evaluation.images, kind=kind))


def baselines(evaluation: Evaluation, baseline: Baseline, seed: int) -> Float[Tensor, "B C *size"]:
    """Return the baseline of each image, which provides the values of replaced pixels."""
    return evaluation.once(("baseline", baseline, seed), lambda: baseline_images(baseline, evaluation.images, seed))


def baseline_scores(evaluation: Evaluation, baseline: Baseline, seed: int, kind: str) -> Float[Tensor, " B"]:
    """Return the scores of the baselines."""
    return evaluation.once(
        ("score", kind, baseline, seed),
        lambda: evaluation.model_score(baselines(evaluation, baseline, seed), kind=kind),
    )
