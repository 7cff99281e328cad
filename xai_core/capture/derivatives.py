"""The gradients of several targets' scores at tensors of one graph, in one backward where that can be."""

from collections import defaultdict
from collections.abc import Mapping, Set

import torch
from jaxtyping import Float
from torch import Tensor


def derivatives(
    scores: Float[Tensor, "V B"], leaves: Mapping[str, Tensor], curved: Set[str]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The gradients [V,...] of each target's scores at the leaves, and the Hessians times the leaves."""
    tensors = list(leaves.values())
    if not curved and len(scores) > 1:
        each = torch.eye(len(scores), dtype=scores.dtype, device=scores.device)[:, :, None].expand(-1, *scores.shape)
        found = torch.autograd.grad(scores, tensors, each, allow_unused=True, is_grads_batched=True)
        return {name: grad for name, grad in zip(leaves, found, strict=True) if grad is not None}, {}
    gradients: dict[str, list[Tensor]] = defaultdict(list)
    curvatures: dict[str, list[Tensor]] = defaultdict(list)
    for i, score in enumerate(scores):
        keep = bool(curved) or i < len(scores) - 1
        found = torch.autograd.grad(
            score, tensors, torch.ones_like(score), allow_unused=True, retain_graph=keep, create_graph=bool(curved)
        )
        for (name, leaf), gradient in zip(leaves.items(), found, strict=True):
            if gradient is None:
                continue
            if name in curved:
                curvatures[name].append(_times_hessian(gradient, leaf))
            gradients[name].append(gradient.detach())
    return (
        {name: torch.stack(each) for name, each in gradients.items()},
        {name: torch.stack(each) for name, each in curvatures.items()},
    )


def pulled_back(tensor: Tensor, leaf: Tensor, gradients: Float[Tensor, "V ..."]) -> Tensor | None:
    """Gradients [V,...] at a tensor taken back to a leaf of it, [V,...]; None where it does not depend on that."""
    if not tensor.requires_grad:
        return None
    several = len(gradients) > 1
    (found,) = torch.autograd.grad(
        tensor,
        leaf,
        gradients if several else gradients[0],
        retain_graph=True,
        allow_unused=True,
        is_grads_batched=several,
    )
    return found if several or found is None else found[None]


def _times_hessian(gradient: Tensor, leaf: Tensor) -> Tensor:
    """The Hessian, whose row is the gradient, times the leaf; zero where the gradient is constant."""
    if not gradient.requires_grad:
        return torch.zeros_like(leaf)
    (product,) = torch.autograd.grad(gradient, leaf, leaf.detach(), retain_graph=True, allow_unused=True)
    return torch.zeros_like(leaf) if product is None else product.detach()
