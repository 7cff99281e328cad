"""Requires the same output for the same image, with and without hooks."""

from typing import Any

import torch
from torch import Tensor, nn

from xai_core.errors import ModelOutputError
from xai_core.model.execution import Forward, scoring
from xai_core.model.user_forward import batch_indices
from xai_core.outputs import leaves_of


def require_deterministic(model: nn.Module, forward: Forward, image: Tensor, observed: Any) -> None:
    """Compare an output that was computed with hooks with the output of a plain forward pass.

    Raises
    ------
    ModelOutputError
        If they differ by more than rounding.
    """

    def plain() -> Any:
        with scoring(model):
            return forward(model, image, batch_indices(image))

    output = plain()
    if _same(observed, output):
        return
    if _same(plain(), output):
        raise ModelOutputError(
            "the model's output changes if the outputs of its modules are copied. A module returns a tensor that the "
            "model changes in place elsewhere: return a copy (`tensor.clone()`) from this module"
        )
    raise ModelOutputError(
        "the model's output for the same image is random, so maps and scores would be random too. Expected a "
        "deterministic model: disable random masks and dropout, or set a seed in `forward=`"
    )


def _same(output: Any, other: Any) -> bool:
    """Return whether two outputs have equal numbers, up to rounding."""
    pairs = zip(leaves_of(output), leaves_of(other), strict=False)
    return all(_close(a, b) for (_, a), (_, b) in pairs if a.is_floating_point() and b.is_floating_point())


def _close(tensor: Tensor, other: Tensor) -> bool:
    if tensor.shape != other.shape or tensor.numel() == 0:
        return tensor.shape == other.shape
    a, b = tensor.detach().float(), other.detach().float()
    if not bool(a.isfinite().all() & b.isfinite().all()):
        return True  # the engine raises an error for such an output
    tolerance = torch.finfo(tensor.dtype).eps ** 0.5
    return bool(((a - b).abs() <= tolerance * (1 + b.abs().amax())).all())
