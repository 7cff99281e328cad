"""Saliency: a method's raw relevance, resized to the images and normalized to [0, 1]."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from xai_core.cost import Cost
from xai_core.errors import MapShapeError, UnsuitableError
from xai_core.targets.target import BoundTarget

FLAT = 1e-6
"""A map whose range is below this share of its largest magnitude is constant up to rounding."""


class Relevance(NamedTuple):
    """What an explainer may return instead of one tensor: the map, and what it is made of.

    Parts are maps, such as attention heads; weights are numbers, such as those of channels.
    """

    map: Float[Tensor, "B h w"]
    parts: Float[Tensor, "B P h w"] | None = None
    weights: Float[Tensor, "B K"] | None = None


def relevance(given: Tensor | Relevance) -> Float[Tensor, "B h w"]:
    """The map of what an explainer returned."""
    return given.map if isinstance(given, Relevance) else given


ExplainAgain = Callable[[Tensor, BoundTarget, nn.Module | None], "Saliency"]
"""Explains other images by the same method, for a bound target; of another model, where one is given."""


@dataclass(frozen=True, eq=False)
class Saliency:
    """Saliency maps of a batch, all on the model's device.

    Where T targets of each image were asked for, every tensor has a T after its B, and `each` takes it apart.

    Attributes
    ----------
    values
        [B,H,W] float32 in [0,1] at the images' size: `raw` resized bilinearly (corners not aligned), then
        min-max normalized per image. All zero where `constant`.
    raw
        [B,h,w] relevance as the method gave it, any range.
    constant
        [B] bool: the raw map is constant, the method found nothing to tell one place from another.
    target
        What the maps explain, a tuple where they are of T targets; metrics score the same.
    parts
        [B,P,h,w] where a method has parts to show, such as attention heads; as raw as `raw`.
    weights
        [B,K] where a method has weights to show, such as those of channels.
    explain_again
        Makes further maps in the same way, where the engine made these; see `explain`.
    cost
        What making them cost, where that was asked for.
    """

    values: Float[Tensor, "B *T H W"]
    raw: Float[Tensor, "B *T h w"]
    constant: Bool[Tensor, "B *T"]
    target: BoundTarget | tuple[BoundTarget, ...]
    parts: Float[Tensor, "B *T P h w"] | None = None
    weights: Float[Tensor, "B *T K"] | None = None
    explain_again: ExplainAgain | None = None
    cost: Cost | None = None

    @classmethod
    def of(
        cls,
        relevance: object,
        batch: int,
        size: tuple[int, int],
        target: BoundTarget,
        method: str,
        explain_again: ExplainAgain | None = None,
    ) -> "Saliency":
        """Make saliency of what `method` returned for a batch of images of `size` (H, W).

        Raises
        ------
        MapShapeError
            Where the relevance is not a floating-point [B,h,w].
        """
        raw, *rest = relevance if isinstance(relevance, Relevance) else (relevance, None, None)
        if not isinstance(raw, Tensor) or raw.ndim != 3 or len(raw) != batch or not raw.is_floating_point():
            given = f"{raw.dtype} {list(raw.shape)}" if isinstance(raw, Tensor) else type(raw).__name__
            raise MapShapeError(
                f"{method} must return floating-point relevance [B,h,w] with B={batch}; it gave {given}"
            )
        raw = raw.detach().float()
        flat = is_flat(raw)
        parts, weights = (None if one is None else one.detach() for one in rest)
        return cls(normalize(resize(raw, size), flat), raw, flat, target, parts, weights, explain_again)

    @classmethod
    def of_targets(cls, each: "Sequence[Saliency]") -> "Saliency":
        """The maps of T targets as one."""

        def stacked(tensors: list[Tensor | None]) -> Tensor | None:
            there = [one for one in tensors if one is not None]
            return torch.stack(there, 1) if there else None

        return cls(
            torch.stack([one.values for one in each], 1),
            torch.stack([one.raw for one in each], 1),
            torch.stack([one.constant for one in each], 1),
            tuple(one.target for one in each if isinstance(one.target, BoundTarget)),
            stacked([one.parts for one in each]),
            stacked([one.weights for one in each]),
            each[0].explain_again,
        )

    def explain(self, images: Float[Tensor, "B C H W"], model: nn.Module | None = None) -> "Saliency":
        """Explain other images, each in the place of one of the batch, by the method and for the target of these maps.

        Parameters
        ----------
        images
            As many as there are maps.
        model
            A changed copy of the model, where not the model itself is to be explained.

        Raises
        ------
        UnsuitableError
            Where these maps were not made by an engine, so that the method is not known, or are of several targets.
        """
        if not isinstance(self.target, BoundTarget):
            raise UnsuitableError("maps of several targets are explained again one by one; take one of `each`")
        if self.explain_again is None:
            raise UnsuitableError(
                "the metric explains changed images, and the method of these maps is not known; "
                "give the maps that `Engine.explain` returned"
            )
        return self.explain_again(images, self.target, model)

    @property
    def each(self) -> "list[Saliency]":
        """The maps of each target: T of them, or this one alone."""
        if isinstance(self.target, BoundTarget):
            return [self]
        return [
            Saliency(
                self.values[:, i],
                self.raw[:, i],
                self.constant[:, i],
                target,
                None if self.parts is None else self.parts[:, i],
                None if self.weights is None else self.weights[:, i],
                self.explain_again,
            )
            for i, target in enumerate(self.target)
        ]


def resize(maps: Float[Tensor, "B h w"], size: tuple[int, int]) -> Float[Tensor, "B H W"]:
    """Resize bilinearly, corners not aligned, as every peer does."""
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]


def normalize(maps: Float[Tensor, "B H W"], flat: Bool[Tensor, " B"] | None = None) -> Float[Tensor, "B H W"]:
    """Min-max normalize each map to [0, 1]; flat maps become zero."""
    flat = is_flat(maps) if flat is None else flat
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    span = (high - low).where(~flat[:, None, None], 1)
    return ((maps - low) / span).clamp(0, 1).masked_fill(flat[:, None, None], 0)


def is_flat(maps: Float[Tensor, "B h w"]) -> Bool[Tensor, " B"]:
    """Tell which maps are constant up to rounding."""
    return maps.amax((1, 2)) - maps.amin((1, 2)) <= FLAT * maps.abs().amax((1, 2))
