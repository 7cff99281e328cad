"""Checks of what goes in and comes out; those on values are read from the device together, once per batch."""

import itertools
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from xai_core.capture.needs import Needs, NeedsUnion
from xai_core.capture.pass_record import PassRecord
from xai_core.errors import (
    ConstantMapWarning,
    EmptyBatchError,
    InputShapeError,
    InputTypeError,
    MapShapeError,
    NoGroundTruthError,
    NonFiniteInputError,
    NonFiniteMapError,
    NonFiniteOutputError,
    TargetError,
    XAIError,
)
from xai_core.isolation.error_context import PluginCall
from xai_core.metric import MetricResult
from xai_core.model.adapter import ModelAdapter
from xai_core.outputs import first_tensor
from xai_core.saliency import Saliency
from xai_core.targets.target import BoundTarget

Failure = Callable[[list[int]], XAIError | Warning]


class Checks:
    """Collects per-image conditions on the device, reads them all at once, and reports the first that fails."""

    def __init__(self) -> None:
        self._conditions: list[tuple[Tensor, Failure]] = []

    def add(self, holds: Bool[Tensor, " B"], failure: Failure) -> None:
        """Require a condition of each image; `failure` makes the error, or warning, of the images that fail."""
        self._conditions.append((holds, failure))

    def read(self) -> None:
        """Read all conditions from the device: the one host synchronization of a batch.

        Raises
        ------
        XAIError
            Of the first condition that fails, if it is an error; warnings are given.
        """
        if not self._conditions:
            return
        conditions, self._conditions = self._conditions, []
        values: list[bool] = torch.cat([holds for holds, _ in conditions]).tolist()
        for holds, failure in conditions:
            failing = [i for i, value in enumerate(values[: len(holds)]) if not value]
            values = values[len(holds) :]
            if failing:
                report = failure(failing)
                if isinstance(report, Warning):
                    warnings.warn(report, stacklevel=4)  # of the caller of the engine
                else:
                    raise report


def finite(values: Float[Tensor, "B ..."]) -> Bool[Tensor, " B"]:
    """Which images have finite values only."""
    return values.abs().amax(tuple(range(1, values.ndim))).isfinite() if values.ndim > 1 else values.isfinite()


def accept(images: object, model: nn.Module) -> Float[Tensor, "B C H W"]:
    """Take a user's images as the model takes them: on its device, in its floating-point type.

    Raises
    ------
    InputTypeError
        Where they are not a floating-point tensor.
    InputShapeError
        Where they are not [B,C,H,W].
    EmptyBatchError
        Where B is zero.
    """
    if not isinstance(images, Tensor):
        raise InputTypeError(
            f"expected images as a tensor [B, C, H, W], got {type(images).__name__}; "
            "`load_model(...).preprocess` makes one of a PIL image, `torch.stack` a batch of several"
        )
    if not images.is_floating_point():
        raise InputTypeError(f"expected normalized floating-point images, got {images.dtype}; preprocess them first")
    if images.ndim != 4:
        hint = "; add the batch dimension with `images[None]`" if images.ndim == 3 else ""
        raise InputShapeError(f"expected images [B, C, H, W], got shape {list(images.shape)}{hint}")
    if len(images) == 0:
        raise EmptyBatchError("the batch is empty; expected at least one image")
    if 0 in images.shape:
        raise InputShapeError(f"expected images [B, C, H, W] of at least one pixel, got shape {list(images.shape)}")
    tensors = itertools.chain(model.parameters(), model.buffers())
    held = next((tensor for tensor in tensors if tensor.is_floating_point()), images)
    images = images.detach().to(held.device, held.dtype, non_blocking=True)
    return images.clone() if images.is_inference() else images


def check_images(checks: Checks, images: Tensor) -> None:
    """Require images without NaN or infinity."""
    checks.add(
        finite(images),
        lambda bad: NonFiniteInputError(f"images {bad} of the batch hold NaN or infinity; check the preprocessing"),
    )


def check_masks(checks: Checks, masks: object, images: Tensor) -> Bool[Tensor, "B H W"]:
    """Take the truth of each image, on the images' device, and require at least one pixel of it."""
    shape = [len(images), *images.shape[-2:]]
    if not isinstance(masks, Tensor) or masks.dtype != torch.bool or list(masks.shape) != shape:
        given = f"{masks.dtype} {list(masks.shape)}" if isinstance(masks, Tensor) else type(masks).__name__
        raise MapShapeError(f"masks must be bool {shape}, true where the truth is in each image; got {given}")
    masks = masks.to(images.device, non_blocking=True)
    checks.add(
        masks.any(2).any(1),
        lambda bad: NoGroundTruthError(
            f"the masks of images {bad} of the batch are true nowhere; leave these images out"
        ),
    )
    return masks


def check_needs(needs: object, call: PluginCall, adapter: ModelAdapter) -> Needs:
    """Require that an explainer asks for something, at layers that there are."""
    if not isinstance(needs, Needs):
        raise InputTypeError(
            f"the `needs` of {call.description} must return xai_core.Needs; it gave {type(needs).__name__}"
        )
    NeedsUnion.of([needs], adapter.layer_name)
    return needs


def check_pass(checks: Checks, record: PassRecord) -> None:
    """Require finite images, a finite output, and targets that are classes of the model."""
    check_images(checks, record.images)
    check_output(checks, record.output, len(record.images))
    for target in record.targets.all:
        check_target(checks, target)


def check_output(checks: Checks, output: Any, batch: int) -> None:
    """Require an output without NaN or infinity, where it is one for each image."""
    tensor = first_tensor(output)
    if tensor is not None and tensor.is_floating_point() and tensor.ndim and len(tensor) == batch:
        checks.add(
            finite(tensor),
            lambda bad: NonFiniteOutputError(
                f"the model gave NaN or infinity for images {bad} of the batch; check its weights, its precision and "
                "whether the images are normalized as it expects"
            ),
        )


def check_target(checks: Checks, target: BoundTarget) -> None:
    """Require that the target makes sense for each image."""
    if target.valid is not None:
        checks.add(target.valid, lambda bad: TargetError(f"the targets of images {bad} are {target.reason}"))


def check_map(checks: Checks, saliency: Saliency, call: PluginCall) -> None:
    """Require a finite map, and warn of a constant one."""
    checks.add(
        finite(saliency.raw),
        lambda bad: call.attach_to(
            NonFiniteMapError(f"{call.description} gave NaN or infinity for images {bad} of the batch")
        ),
    )
    checks.add(
        ~saliency.constant,
        lambda bad: ConstantMapWarning(
            f"{call.key} found no evidence in images {bad} of the batch: the map is constant, its values are zero"
        ),
    )


def check_score(checks: Checks, score: object, call: PluginCall, batch: int) -> None:
    """Require one finite number per image, and of a curve one at each fraction."""
    name = call.description
    if not isinstance(score, MetricResult) or not isinstance(score.values, Tensor):
        raise MapShapeError(
            f"{name} must return a MetricResult of one number per image; it gave {type(score).__name__}"
        )
    if score.values.shape != (batch,):
        raise MapShapeError(f"{name} must be one number per image, [{batch}]; it gave {list(score.values.shape)}")
    if score.curve is not None or score.fractions is not None:
        curve, fractions = ([] if one is None else list(one.shape) for one in (score.curve, score.fractions))
        if len(fractions) != 1 or curve != [batch, *fractions]:
            raise MapShapeError(
                f"{name} must give a curve [B,S] with fractions [S] and B={batch}; it gave {curve} and {fractions}"
            )
    checks.add(
        finite(score.values),
        lambda bad: call.attach_to(NonFiniteOutputError(f"{name} is NaN or infinite for images {bad} of the batch")),
    )


def accept_maps(
    checks: Checks, maps: Mapping[str, Saliency | Tensor], images: Tensor, predicted: Callable[[], BoundTarget]
) -> dict[str, Saliency]:
    """Take maps as finite saliency that covers the images; tensors of a user's own are for the predicted class.

    Raises
    ------
    MapShapeError
        Where they do not.
    """
    batch, size = len(images), (images.shape[-2], images.shape[-1])
    target = predicted() if any(isinstance(given, Tensor) for given in maps.values()) else None
    made = {}
    for key, given in maps.items():
        if isinstance(given, Tensor):
            assert target is not None
            given = Saliency.of(given.to(images.device), batch, size, target, key)
        if not isinstance(given, Saliency) or given.each[0].values.shape != (batch, *size):
            shown = list(given.values.shape) if isinstance(given, Saliency) else type(given).__name__
            raise MapShapeError(f"map {key!r} must cover the images, {[batch, *size]}; got {shown}")
        check_given(checks, given, key)
        made[key] = given
    return made


def check_given(checks: Checks, saliency: Saliency, key: str) -> None:
    """Require a user's map without NaN or infinity."""
    checks.add(
        finite(saliency.raw) & finite(saliency.values),
        lambda bad: NonFiniteMapError(f"map {key!r} holds NaN or infinity for images {bad} of the batch"),
    )
