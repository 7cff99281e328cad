"""The order of clips and frames in outputs whose first dimension contains both, as in [B * D, C, h, w]."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xai_core.model.execution import Forward, explaining, temporary_hooks
from xai_core.model.layouts import by_image, count_and_channels, is_folded, possible_layouts
from xai_core.model.noise import NoiseImages
from xai_core.model.sites import Site
from xai_core.model.user_forward import batch_indices
from xai_core.outputs import leaf_at

ORDERS = ("(ND)", "(DN)")
"""Clips before frames, and frames before clips."""


def frame_orders(
    model: nn.Module, forward: Forward, clip: Float[Tensor, "1 C *size"], outputs: Mapping[Site, Tensor]
) -> dict[Site, str]:
    """Return the order of each output that may contain frames of several clips.

    The model runs on two clips. The frames of the first clip must be the same as in its own forward pass, in exactly
    one of the orders.

    Parameters
    ----------
    model, forward
        The model, and a function that calls it.
    clip
        The first clip.
    outputs
        The outputs for the first clip.
    """
    possible = {site: possible_layouts(site.shape, tuple(clip.shape[2:])) for site in outputs}
    folded = {site: layout for site, layouts in possible.items() for layout in layouts if is_folded(layout)}
    if not folded:
        return {}
    names = {module: name for name, module in model.named_modules()}
    calls: Counter[str] = Counter()
    orders: dict[Site, str] = {}

    def leave(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        name = names[module]
        for site, layout in folded.items():
            if (site.layer, site.call) == (name, calls[name]):
                order = _order(outputs[site], leaf_at(output, site.path), layout)
                orders.update({site: order} if order else {})
        calls[name] += 1

    two = torch.cat([clip, NoiseImages(clip).first(1)])
    hooks = {module: leave for module, name in names.items() if any(site.layer == name for site in folded)}
    with explaining(model, gradients=False), temporary_hooks(after=hooks):
        forward(model, two, batch_indices(two))
    return orders


def _order(one: Tensor, two: Tensor | None, layout: str) -> str | None:
    """Return the order in which the first of two clips has the output of one clip, or None."""
    if two is None or two.shape != (2 * len(one), *one.shape[1:]):
        return None
    count, _ = count_and_channels(tuple(one.shape), layout)
    scale = float(one.detach().abs().amax())
    fitting = [
        order
        for order in ORDERS
        if torch.allclose(by_image(two, order + layout[4:], count)[0], one, rtol=1e-2, atol=1e-4 * scale)
    ]
    return fitting[0] if len(fitting) == 1 else None
