"""Scores and gradients at the points of a path of images."""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from xai_core.plugin import SharedModel

Path = Callable[[Float[Tensor, " S"]], Float[Tensor, "S N C *size"]]
"""Returns the images at S positions of the paths of N images."""


def gradients_along(
    path: Path, positions: Float[Tensor, " T"], model: SharedModel, indices: Int[Tensor, " N"]
) -> Iterator[tuple[Float[Tensor, "S N C *size"], Float[Tensor, "S N"], Float[Tensor, "S N C *size"]]]:
    """Iterate over the points, scores and gradients at the positions, for as many positions as fit in a block.

    Each block begins with the last point of the block before, so that every step of the path is in one block.
    """
    before: list[Tensor] = []
    for block in positions.split(max(1, model.block // len(indices))):
        points = path(block)
        scores, gradients = score_gradients(model, points.flatten(0, 1), indices.repeat(len(block)))
        values = [points, scores.view(points.shape[:2]), gradients.view_as(points)]
        if before:
            values = [torch.cat(pair) for pair in zip(before, values, strict=True)]
        yield values[0], values[1], values[2]
        before = [value[-1:].clone() for value in values]


def score_gradients(
    model: SharedModel, images: Float[Tensor, "N C *size"], indices: Int[Tensor, " N"]
) -> tuple[Float[Tensor, " N"], Float[Tensor, "N C *size"]]:
    """Return the score of each image, and its gradient with respect to the image."""
    leaf = images.detach().requires_grad_()
    with torch.enable_grad():
        scores = model(leaf, indices)
    (gradients,) = torch.autograd.grad(scores, leaf, torch.ones_like(scores))
    return scores.detach(), gradients
