"""Detects scores that are probabilities already, because the model ends in a softmax or a sigmoid."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from xai_core.model.graph_nodes import Node
from xai_core.outputs import Path
from xai_core.targets.selection import score_candidates

SQUASHING = frozenset({"Softmax", "Sigmoid", "Hardsigmoid"})
"""Operations whose results are probabilities, as autograd names them."""
AVERAGING = frozenset(
    {
        *("Add", "Cat", "Div", "Mean", "Mul", "Stack", "Sum", "UpsampleBilinear2D", "UpsampleNearest2D"),
        *("Alias", "Clone", "Expand", "Index", "Permute", "ReshapeAlias", "Select", "Slice", "Squeeze", "T", "ToCopy"),
        *("Transpose", "Unsqueeze", "UnsafeView", "View"),
    }
)
"""Operations that rearrange or average numbers. The average of probabilities is a probability."""


def probabilities_in(output: Any, images: Tensor) -> frozenset[Path]:
    """Return the paths of the scores in an output for one image that are probabilities.

    Parameters
    ----------
    output
        The output.
    images
        The image from which the output was computed. Its graph is used if there is one.
    """
    return frozenset(path for path, scores in score_candidates(output, 1).items() if are_probabilities(scores, images))


def are_probabilities(scores: Tensor, images: Tensor) -> bool:
    """Return whether scores [1,K] or [1,K,h,w] are probabilities.

    They are numbers from 0 to 1, and they come from a softmax or a sigmoid, or sum to one for every image.
    """
    values = scores.detach().float()
    tolerance = 1e-2 if scores.dtype.itemsize < 4 else 1e-4
    if not bool(((values >= 0) & (values <= 1 + tolerance)).all()):
        return False
    if scores.grad_fn is not None and all(name in SQUASHING for name in _origins(scores.grad_fn)):
        return True
    sums_to_one = scores.shape[1] > 1 and bool(((values.sum(1) - 1).abs() <= tolerance).all())
    return sums_to_one and _sum_is_constant(scores, images)


def _origins(node: Node) -> Iterator[str]:
    """Yield the names of the operations whose results are averaged."""
    stack, seen = [node], {node}
    while stack:
        node = stack.pop()
        name = node.name().partition("Backward")[0].lstrip("_")
        before = {previous for previous, _ in node.next_functions if previous is not None}
        if name in AVERAGING and (name != "Mul" or len(before) == 1):
            stack += before - seen
            seen |= before
        else:
            yield name


def _sum_is_constant(scores: Tensor, images: Tensor) -> bool:
    """Return whether the gradient of the sum of the scores is nearly zero, or cannot be computed."""
    if not scores.requires_grad or not images.requires_grad:
        return True
    of_sum, of_best = (
        torch.autograd.grad(value, images, retain_graph=True, allow_unused=True)[0]
        for value in (scores.sum(), scores.amax(1).sum())
    )
    if of_sum is None or of_best is None:
        return True
    return bool(of_sum.abs().amax() <= 1e-2 * of_best.abs().amax())
