"""Inputs of the engine besides images: models, maps and masks, converted or rejected with one clear error."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from xai_core.checks import Checks, finite
from xai_core.data.sources import LoadedModel
from xai_core.errors import (
    InputShapeError,
    InputTypeError,
    NoGroundTruthError,
    NonFiniteMapError,
)
from xai_core.metric import Metric
from xai_core.model.adapter import ModelAdapter
from xai_core.model.runtimes import require_initialized
from xai_core.saliency import Saliency
from xai_core.targets.target import BoundTarget

Maps = Mapping[str, Saliency | Tensor]
SINGLE = ""
"""The key of a map that was passed alone, without a name."""


def accept_model(model: object) -> nn.Module:
    """Return the module to explain.

    Raises
    ------
    InputTypeError
        If the model is neither a module nor a `LoadedModel`, or has lazy modules that never ran.
    """
    if isinstance(model, LoadedModel):
        model = model.model
    if isinstance(model, nn.Module):
        require_initialized(model)
        return model
    hint = ""
    if isinstance(model, str):
        hint = f"; use `Engine(load_model({model!r}))`"
    elif isinstance(model, type) and issubclass(model, nn.Module):
        hint = f"; pass an object of the class {model.__name__}, not the class itself"
    raise InputTypeError(f"expected a torch.nn.Module or a LoadedModel, got {type(model).__name__}{hint}")


def accept_named(maps: object) -> Maps:
    """Return maps by name. A single map gets the name `SINGLE`.

    Raises
    ------
    InputTypeError
        If the maps are neither a dict nor a single map.
    """
    if isinstance(maps, Saliency | Tensor):
        return {SINGLE: maps}
    if isinstance(maps, Mapping):
        return maps
    hint = "; the order is `evaluate(images, maps, metrics)`" if isinstance(maps, str | Metric) else ""
    raise InputTypeError(
        "maps must be the result of `explain`, one `Saliency`, one tensor [B,h,w], or a dict of tensors such as "
        f"{{'mine': tensor}}; got {type(maps).__name__}{hint}"
    )


def accept_masks(checks: Checks, masks: object, images: Tensor) -> Bool[Tensor, "B *size"]:
    """Return ground-truth masks on the images' device, and require at least one true pixel in each.

    Raises
    ------
    InputTypeError
        If the masks are not a bool tensor.
    InputShapeError
        If the masks do not have the shape [B,H,W] of the images, or [B,D,H,W] of the volumes.
    """
    shape = [len(images), *images.shape[2:]]
    expected = f"masks must be bool {shape}, true inside the ground truth of each image"
    if not isinstance(masks, Tensor):
        raise InputTypeError(f"{expected}; got {type(masks).__name__}")
    if masks.dtype != torch.bool:
        raise InputTypeError(f"{expected}; got {masks.dtype} {list(masks.shape)}: use `masks > 0`")
    if list(masks.shape) != shape:
        raise InputShapeError(f"{expected}; got {masks.dtype} {list(masks.shape)}")
    masks = masks.to(images.device, non_blocking=True, copy=True)  # metrics must not write to the user's tensor
    checks.add(
        masks.flatten(1).any(1),
        lambda bad: NoGroundTruthError(
            f"the masks of images {bad} of the batch have no true pixel; remove these images from the batch"
        ),
    )
    return masks


def accept_maps(
    checks: Checks,
    maps: Mapping[str, Saliency | Tensor],
    images: Tensor,
    predicted: Callable[[], BoundTarget],
    adapter: ModelAdapter,
) -> dict[str, Saliency]:
    """Return maps as finite saliency on the images' device, with targets that can score the model's outputs.

    A tensor is treated as a map of the predicted class. Maps that share a target still share it afterwards.

    Raises
    ------
    InputTypeError
        If a map is neither a `Saliency` nor a floating-point tensor.
    InputShapeError
        If a map does not have the batch size and the height and width of the images.
    """
    batch, size = len(images), tuple(images.shape[2:])
    targets: dict[BoundTarget | None, BoundTarget] = {}

    def usable(target: BoundTarget | None) -> BoundTarget:
        if target not in targets:
            targets[target] = (
                predicted() if target is None else target.to(images.device).with_logits(adapter.score_reader).clone()
            )
        return targets[target]

    accepted = {}
    for key, value in maps.items():
        name = f"map {key!r}" if key else "the map"
        if isinstance(value, Tensor):
            _check_tensor(value, name, batch, len(size))
            saliency = Saliency.of(value.to(images.device), batch, size, usable(None), name)
        elif isinstance(value, Saliency):
            saliency = replace(value, view=None).with_targets(usable).to(images.device)  # metrics draw nothing
        else:
            raise InputTypeError(f"{name} must be a Saliency or a tensor {[batch, *size]}; got {type(value).__name__}")
        shape = saliency.values.shape
        several = () if isinstance(saliency.target, BoundTarget) else (len(saliency.target),)
        if shape != (batch, *several, *size):
            raise InputShapeError(f"{name} must have the shape of the images, {[batch, *size]}; got {list(shape)}")
        _check_finite(checks, saliency, name)
        accepted[key] = saliency
    return accepted


def _check_tensor(relevance: Tensor, name: str, batch: int, dims: int) -> None:
    """Require a user's map to be floating-point relevance [B,h,w], or [B,d,h,w] for volumes.

    Raises
    ------
    InputTypeError
        If it is not floating-point.
    InputShapeError
        If it does not have one map per image.
    """
    received = f"{relevance.dtype} {list(relevance.shape)}"
    shape = "[B,h,w]" if dims == 2 else "[B,d,h,w]"
    expected = f"{name} must be floating-point relevance {shape} with B={batch}; got {received}"
    if not relevance.is_floating_point():
        raise InputTypeError(f"{expected}: use `.float()`")
    if relevance.ndim != 1 + dims or len(relevance) != batch:
        is_one_map = relevance.ndim == dims and batch == 1
        has_channel = relevance.ndim == 2 + dims and relevance.shape[1] == 1
        raise InputShapeError(expected + (": use `[None]`" if is_one_map else ": use `[:, 0]`" if has_channel else ""))


def _check_finite(checks: Checks, saliency: Saliency, name: str) -> None:
    """Require a user's map without NaN or infinity."""
    checks.add(
        finite(saliency.raw) & finite(saliency.values),
        lambda bad: NonFiniteMapError(f"{name} contains NaN or infinity for images {bad} of the batch"),
    )
