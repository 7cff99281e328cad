"""Saliency: a method's raw relevance, resized to the images and normalized to [0, 1]."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from xai_core.cost import Cost
from xai_core.errors import PluginContractError, UnsuitableError
from xai_core.normalization import is_constant, normalize, resize
from xai_core.targets.target import BoundTarget
from xai_core.visualization.drawable_maps import DrawableMaps
from xai_core.visualization.view import View


class Relevance(NamedTuple):
    """The return value of an explainer that returns more than a map.

    Attributes
    ----------
    map
        [B,h,w] relevance, or [B,d,h,w] for volumes.
    parts
        [B,P,h,w] maps that the map was computed from, such as one per attention head.
    weights
        [B,K] numbers that the map was computed with, such as one per channel.
    """

    map: Float[Tensor, "B *grid"]
    parts: Float[Tensor, "B P *grid"] | None = None
    weights: Float[Tensor, "B K"] | None = None


def relevance(returned: Tensor | Relevance) -> Float[Tensor, "B *grid"]:
    """Return the map in the return value of an explainer."""
    return returned.map if isinstance(returned, Relevance) else returned


ExplainAgain = Callable[[Tensor, BoundTarget, nn.Module | None, range | None], "Saliency"]
"""Function `(images, target, model, rows)` that explains other images by the same method. See `Saliency.explain`."""


@dataclass(frozen=True, eq=False, repr=False)
class Saliency(DrawableMaps):
    """Saliency maps of a batch, all on the model's device.

    `len(saliency)` is the number of images B. `saliency[i]` and `saliency[i:j]` select images, and
    `saliency.to(device)` moves all tensors. For T targets per image, every tensor has a dimension T after B, and
    `each` returns the maps of each target. For volumes [B,C,D,H,W], a map has the dimensions D, H and W.

    Saliency can be pickled and saved with `torch.save`. The function `explain_again` and user-defined target
    functions are not saved.

    Attributes
    ----------
    values
        [B,H,W] float32 in [0,1] at the images' size: `raw` resized bilinearly (corners not aligned), then min-max
        normalized per image. All zero for images whose map is constant. Maps of volumes are resized trilinearly.
    raw
        [B,h,w] float32 relevance as the method returned it, of any range.
    constant
        [B] bool: whether the raw map is constant, so the method found no evidence.
    target
        The target that the maps explain, or a tuple of T targets. Metrics score the maps for the same target.
    parts
        [B,P,h,w] maps that the map was computed from, such as one per attention head, of any range. None if the method
        has no parts.
    weights
        [B,K] numbers that the map was computed with, such as one per channel. None if the method has none.
    explain_again
        The function that `explain` calls. None if the engine did not compute these maps.
    cost
        The cost of explaining the whole batch. None unless it was requested with `costs=True`.
    view
        The images and predictions of the batch, for plots. It is not saved. None if the engine did not compute these
        maps.
    rows
        The indices of these images in the batch that was explained. None if this is the whole batch.
    """

    values: Float[Tensor, "B ..."]
    raw: Float[Tensor, "B ..."]
    constant: Bool[Tensor, "B *T"]
    target: BoundTarget | tuple[BoundTarget, ...]
    parts: Float[Tensor, "B ..."] | None = None
    weights: Float[Tensor, "B *T K"] | None = None
    explain_again: ExplainAgain | None = None
    cost: Cost | None = None
    view: View | None = None
    rows: range | None = None

    _unsaved = ("explain_again", "rows")

    @classmethod
    def of(
        cls,
        relevance: object,
        batch: int,
        size: tuple[int, ...],
        target: BoundTarget,
        method: str,
        explain_again: ExplainAgain | None = None,
    ) -> "Saliency":
        """Return the saliency of the relevance that `method` returned for images of `size` (H, W).

        The `size` of volumes is (D, H, W).

        Raises
        ------
        PluginContractError
            If the relevance is not a floating-point tensor [B,h,w], or [B,d,h,w] for volumes.
        """
        raw, *others = relevance if isinstance(relevance, Relevance) else (relevance, None, None)
        if (
            not isinstance(raw, Tensor)
            or raw.ndim != 1 + len(size)
            or len(raw) != batch
            or not raw.is_floating_point()
            or 0 in raw.shape
        ):
            received = f"{raw.dtype} {list(raw.shape)}" if isinstance(raw, Tensor) else type(raw).__name__
            raise PluginContractError(
                f"{method} must return floating-point relevance {'[B,h,w]' if len(size) == 2 else '[B,d,h,w]'} with "
                f"B={batch}; it returned {received}"
            )
        raw = raw.detach().float()
        constant = is_constant(raw)
        parts, weights = (None if tensor is None else tensor.detach() for tensor in others)
        return cls(normalize(resize(raw, size), constant), raw, constant, target, parts, weights, explain_again)

    @classmethod
    def of_targets(cls, each: "Sequence[Saliency]") -> "Saliency":
        """Return the maps of T targets as one `Saliency`."""

        def stacked(tensors: list[Tensor | None]) -> Tensor | None:
            present = [tensor for tensor in tensors if tensor is not None]
            return torch.stack(present, 1) if present else None

        return cls(
            torch.stack([saliency.values for saliency in each], 1),
            torch.stack([saliency.raw for saliency in each], 1),
            torch.stack([saliency.constant for saliency in each], 1),
            tuple(saliency.target for saliency in each if isinstance(saliency.target, BoundTarget)),
            stacked([saliency.parts for saliency in each]),
            stacked([saliency.weights for saliency in each]),
            each[0].explain_again,
            view=each[0].view,
        )

    def explain(self, images: Float[Tensor, "B C *size"], model: nn.Module | None = None) -> "Saliency":
        """Explain other images with the method and the target of these maps.

        Parameters
        ----------
        images
            One image per map. Image i replaces image i of the batch.
        model
            A changed copy of the model to explain. Default: the model itself.

        Raises
        ------
        UnsuitableError
            If these maps have several targets, were saved or copied, or were not computed by an engine.
        """
        if not isinstance(self.target, BoundTarget):
            raise UnsuitableError(
                "maps of several targets cannot be recomputed together; evaluate the maps in `saliency.each` one by one"
            )
        if self.explain_again is None:
            raise UnsuitableError(
                "this metric recomputes maps for changed images, so it needs the method and the model of these maps. "
                "Pass the maps that `Engine.explain` returned, not tensors, and not maps that were saved or copied"
            )
        return self.explain_again(images, self.target, model, self.rows)

    def _select(self, images: slice) -> "Saliency":
        rows = range(len(self)) if self.rows is None else self.rows
        return replace(super()._select(images), rows=rows[images])

    def with_targets(self, change: Callable[[BoundTarget], BoundTarget]) -> "Saliency":
        """Return these maps with `change` applied to each target."""
        changed = change(self.target) if isinstance(self.target, BoundTarget) else tuple(map(change, self.target))
        return replace(self, target=changed)

    @property
    def each(self) -> "list[Saliency]":
        """The maps of each of the T targets, without their cost. Maps of one target are returned unchanged."""
        if isinstance(self.target, BoundTarget):
            return [self]
        return [self._of_target(index, target) for index, target in enumerate(self.target)]

    def _of_target(self, index: int, target: BoundTarget) -> "Saliency":
        maps = self._map(lambda tensor: tensor[:, index], lambda nested: nested, ("target", "view"))
        return replace(maps, target=target, cost=None)
