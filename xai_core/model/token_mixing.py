"""Finds out whether tokens are mixed other than by the attention that was observed."""

import contextlib
from collections.abc import Collection, Iterator, Sequence

import torch
from torch import Tensor

from xai_core.model.attention_weights import TokensAt


@contextlib.contextmanager
def gradients_blocked(tensors: Sequence[Tensor]) -> Iterator[None]:
    """Block gradients through some tensors."""
    handles = [tensor.register_hook(torch.zeros_like) for tensor in tensors if tensor.requires_grad]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def mixed_sources(
    targets: Sequence[TokensAt], sources: Sequence[TokensAt], tokens: Collection[int], blocked: Sequence[Tensor]
) -> list[bool]:
    """Return, for each source, whether some tokens of the targets depend on any other token of the source.

    Dependence through the `blocked` tensors does not count. If the model overwrote tensors that the gradient needs,
    dependence is assumed.
    """
    wanted = torch.tensor([*tokens])
    outputs = [
        target.value.index_select(target.dim, wanted.to(target.value.device))
        for target in targets
        if target.value.requires_grad
    ]
    inputs = [source.value for source in sources]
    if not outputs or not inputs:
        return [False] * len(sources)
    cotangents = [_irregular(output) for output in outputs]
    try:
        with gradients_blocked(blocked):
            gradients = torch.autograd.grad(outputs, inputs, cotangents, retain_graph=True, allow_unused=True)
    except RuntimeError:
        return [True] * len(sources)
    return [
        gradient is not None and _reaches_others(gradient, source.dim, tokens)
        for gradient, source in zip(gradients, sources, strict=True)
    ]


def _irregular(tensor: Tensor) -> Tensor:
    """Return a cotangent whose terms do not cancel."""
    return torch.arange(1, tensor.numel() + 1, device=tensor.device).cos().to(tensor.dtype).view(tensor.shape)


def _reaches_others(gradient: Tensor, dim: int, tokens: Collection[int]) -> bool:
    rows = gradient.movedim(dim, 0).flatten(1).abs().amax(1)
    rows[[*tokens]] = 0
    return bool((rows != 0).any().tolist())
