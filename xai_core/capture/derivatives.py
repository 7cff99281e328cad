"""Gradients of several targets' scores with respect to tensors of one graph, in one backward pass if possible."""

from collections import defaultdict
from collections.abc import Mapping, Set
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from xai_core.model.autograd_graph import require_gradients

L = TypeVar("L")


def derivatives(
    scores: Float[Tensor, "V B"], leaves: Mapping[L, Tensor], curved: Set[L]
) -> tuple[dict[L, Tensor], dict[L, Tensor]]:
    """Return gradients [V,...] of each target's scores, and products of their Hessians with the `curved` leaves.

    Raises
    ------
    NoGradientError
        If an operation has no gradient.
    """
    require_gradients(scores)
    tensors = list(leaves.values())
    if not curved and len(scores) > 1:
        each = torch.eye(len(scores), dtype=scores.dtype, device=scores.device)[:, :, None].expand(-1, *scores.shape)
        batched = torch.autograd.grad(scores, tensors, each, allow_unused=True, is_grads_batched=True)
        return {leaf: gradient for leaf, gradient in zip(leaves, batched, strict=True) if gradient is not None}, {}
    gradients: dict[L, list[Tensor]] = defaultdict(list)
    curvatures: dict[L, list[Tensor]] = defaultdict(list)
    for i, score in enumerate(scores):
        keep = bool(curved) or i < len(scores) - 1
        of_target = torch.autograd.grad(
            score, tensors, torch.ones_like(score), allow_unused=True, retain_graph=keep, create_graph=bool(curved)
        )
        for (leaf, tensor), gradient in zip(leaves.items(), of_target, strict=True):
            if gradient is None:
                continue
            if leaf in curved:
                curvatures[leaf].append(_times_hessian(gradient, tensor))
            gradients[leaf].append(gradient.detach())
    return (
        {leaf: torch.stack(each) for leaf, each in gradients.items()},
        {leaf: torch.stack(each) for leaf, each in curvatures.items()},
    )


def pulled_back(tensor: Tensor, leaf: Tensor, gradients: Float[Tensor, "V ..."]) -> Tensor | None:
    """Return the vector-Jacobian products [V,...] of `tensor` at `leaf`, or None if it does not depend on `leaf`."""
    if not tensor.requires_grad:
        return None
    several = len(gradients) > 1
    (products,) = torch.autograd.grad(
        tensor,
        leaf,
        gradients if several else gradients[0],
        retain_graph=True,
        allow_unused=True,
        is_grads_batched=several,
    )
    return products if several or products is None else products[None]


def _times_hessian(gradient: Tensor, leaf: Tensor) -> Tensor:
    """Return the product of the Hessian with the leaf, which is zero if the gradient is constant."""
    if not gradient.requires_grad:
        return torch.zeros_like(leaf)
    (product,) = torch.autograd.grad(gradient, leaf, leaf.detach(), retain_graph=True, allow_unused=True)
    return torch.zeros_like(leaf) if product is None else product.detach()
