"""The locations of the keys of an attention, if these were computed from tokens that are located."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from xai_core.model.attention_weights import TokensAt
from xai_core.model.layouts import Features
from xai_core.model.locations import Locations
from xai_core.model.token_mixing import gradients_blocked


def key_locations(
    values: TokensAt, tokens: TokensAt, features: Features, blocked: Sequence[Tensor]
) -> Locations | None:
    """Return the locations of keys, or None if some patch token has no key of its own.

    For each binary digit of a key's index, two gradients are computed. One is for the values of all keys whose digit is
    1, and one is for the values of all other keys. The gradients show which tokens these keys were computed from.

    Parameters
    ----------
    values
        The values.
    tokens, features
        Tokens before the attention, and their layout.
    blocked
        The outputs of other attention, through which no gradient passes.
    """
    if not values.value.requires_grad:
        return None
    rows = values.value.movedim(values.dim, 0).flatten(1)  # [M,n]
    sums = (rows * torch.arange(1, rows.numel() + 1, device=rows.device).cos().to(rows).view_as(rows)).sum(1)
    keys = torch.zeros(features.cells, dtype=torch.long)
    numbers = torch.arange(len(sums))
    for digit in range((len(sums) - 1).bit_length()):
        is_one = ((numbers >> digit) & 1).bool()
        one, zero = (_read_by(sums[chosen.to(sums.device)], tokens, features, blocked) for chosen in (is_one, ~is_one))
        if not (one ^ zero).all():
            return None
        keys += one << digit
    return Locations(features.grid, tuple(keys.tolist())) if len(keys.unique()) == len(keys) else None


def _read_by(sums: Tensor, tokens: TokensAt, features: Features, blocked: Sequence[Tensor]) -> Bool[Tensor, " cells"]:
    """Return the patch tokens that any of the sums depends on, as a mask."""
    with gradients_blocked(blocked):
        (gradient,) = torch.autograd.grad(sums.sum(), tokens.value, retain_graph=True, allow_unused=True)
    if gradient is None:
        return torch.zeros(features.cells, dtype=torch.bool)
    return (gradient.movedim(tokens.dim, 0).flatten(1)[list(features.elements)] != 0).any(1).cpu()
