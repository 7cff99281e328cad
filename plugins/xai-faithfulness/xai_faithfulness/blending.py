"""Scores of images and of blanks, and of images some pixels of which are those of a blank."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xai_core.plugin import Baseline, Evaluation, ModelScorer, baseline_images


def mixed_scores(
    score: ModelScorer,
    start: Float[Tensor, "B C H W"],
    finish: Float[Tensor, "B C H W"],
    replaced: Callable[[slice, slice], Bool[Tensor, "_ S H W"]],
    points: int,
    kind: str,
) -> Float[Tensor, "B S"]:
    """Score each image of `start` with some pixels replaced by those of `finish`, at each of S points.

    `replaced` says which pixels, of some images at some points; of one image, where they are the same of all.
    Images x points go through the model in blocks.
    """
    numbers = torch.arange(len(start), device=start.device)
    scores = [start.new_empty(0)]
    for images, part in score.tiles(points):
        weight = replaced(images, part)[:, :, None].to(start.dtype)
        mixed = torch.lerp(start[images, None], finish[images, None], weight)  # [images,points,C,H,W]
        of = numbers[images].repeat_interleave(mixed.shape[1])
        scores.append(score(mixed.flatten(0, 1), of, kind))
    return torch.cat(scores).view(len(start), points)


def whole_score(evaluation: Evaluation, kind: str) -> Float[Tensor, " B"]:
    """The score of each image as it is, computed once for all metrics."""
    return evaluation.once(("score", kind), lambda: evaluation.model_score(evaluation.images, kind=kind))


def blank_of(evaluation: Evaluation, baseline: Baseline, seed: int) -> Float[Tensor, "B C H W"]:
    """What the pixels of each image are replaced by, made once for all metrics."""
    return evaluation.once(("baseline", baseline, seed), lambda: baseline_images(baseline, evaluation.images, seed))


def blank_score(evaluation: Evaluation, baseline: Baseline, seed: int, kind: str) -> Float[Tensor, " B"]:
    """The score of each image's blank, computed once for all metrics."""
    return evaluation.once(
        ("score", kind, baseline, seed), lambda: evaluation.model_score(blank_of(evaluation, baseline, seed), kind=kind)
    )
