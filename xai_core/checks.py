"""Checks of the shared pass and of the return values of plugins.

Checks of tensor values run on the device, and their results are copied to the host together, once per batch.
"""

import warnings
from collections.abc import Callable
from numbers import Integral
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xai_core.capture.needs import Needs, NeedsUnion, wrong_field
from xai_core.capture.pass_record import PassRecord
from xai_core.error_text import shown
from xai_core.errors import (
    ConstantMapWarning,
    NonFiniteInputError,
    NonFiniteMapError,
    NonFiniteOutputError,
    NonFiniteResultError,
    PluginContractError,
    TargetError,
    XAIError,
)
from xai_core.isolation.error_context import PluginCall
from xai_core.metric import Metric, MetricResult
from xai_core.model.adapter import ModelAdapter
from xai_core.outputs import scores_of
from xai_core.saliency import Relevance, Saliency
from xai_core.targets.target import BoundTarget, Target, TargetLike

MOST_PASSES = 10**12
"""The largest number of forward passes that an explainer may declare."""
Failure = Callable[[list[int]], XAIError | Warning]


class Checks:
    """Collects conditions per image on the device, reads all in one transfer, and reports the first that fails."""

    def __init__(self) -> None:
        self._conditions: list[tuple[Tensor, Failure]] = []

    def add(self, holds: Bool[Tensor, " B"], failure: Failure) -> None:
        """Require a condition for each image.

        Parameters
        ----------
        holds
            Whether each image meets the condition.
        failure
            Function that receives the indices of the images that fail, and returns the exception or the warning.
        """
        self._conditions.append((holds, failure))

    def read(self) -> None:
        """Read all conditions from the device, which is the only synchronization with the host per batch.

        Raises
        ------
        XAIError
            The error of the first condition that fails. If the failure is a warning, it is issued instead.
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
                    warnings.warn(report, stacklevel=5)  # the caller of the engine
                else:
                    raise report


def finite(values: Float[Tensor, "B ..."]) -> Bool[Tensor, " B"]:
    """Return which images have only finite values."""
    return values.abs().amax(tuple(range(1, values.ndim))).isfinite() if values.ndim > 1 else values.isfinite()


def check_images(checks: Checks, images: Tensor) -> None:
    """Require images without NaN or infinity."""
    checks.add(
        finite(images),
        lambda bad: NonFiniteInputError(f"images {bad} of the batch contain NaN or infinity; check the preprocessing"),
    )


def check_scores(adapter: ModelAdapter, target: TargetLike) -> None:
    """Require that the probe found class scores, if the target is a class or a contrast of classes.

    A subclass that overrides `scores` may find them elsewhere, and is not checked. Without a target, a detector
    explains its best detection.

    Raises
    ------
    ModelOutputError
        If it found none, or several.
    """
    is_class = target.of_classes if isinstance(target, Target) else not callable(target)
    is_detection = target is None and adapter.probe.detections is not None
    if is_class and not is_detection and type(adapter).scores is ModelAdapter.scores:
        adapter.probe.scores.require()


def check_needs(needs: object, call: PluginCall, adapter: ModelAdapter) -> Needs:
    """Require that an explainer's `needs` returns `Needs` with valid fields, and names existing layers.

    Raises
    ------
    PluginContractError
        If it returns anything else.
    LayerError
        If it names a layer that the model does not have.
    """
    if not isinstance(needs, Needs):
        raise PluginContractError(
            f"the `needs` of {call.description} must return xai_core.Needs; it returned {type(needs).__name__}"
        )
    if wrong := wrong_field(needs):
        raise PluginContractError(
            f"the `needs` of {call.description} must return xai_core.Needs with fields of the declared types; "
            f"got {wrong}"
        )
    NeedsUnion.of([needs], adapter.layer_name)
    return needs


def check_pass(checks: Checks, record: PassRecord) -> None:
    """Require finite images, a finite output, and targets that are defined for each image."""
    check_images(checks, record.images)
    check_output(checks, record.output, len(record.images))
    for target in record.targets.all:
        check_target(checks, target)


def check_output(checks: Checks, output: Any, batch: int) -> None:
    """Require an output without NaN or infinity, if its first dimension is the batch."""
    tensor = scores_of(output)
    if tensor is not None and tensor.is_floating_point() and tensor.ndim and len(tensor) == batch:
        checks.add(
            finite(tensor),
            lambda bad: NonFiniteOutputError(
                f"the model returned NaN or infinity for images {bad} of the batch; check its weights, its precision "
                "and whether the images are normalized as it expects"
            ),
        )


def check_target(checks: Checks, target: BoundTarget) -> None:
    """Require that the target is defined for each image."""
    if target.valid is not None:
        checks.add(target.valid, lambda bad: TargetError(f"the targets of images {bad} are {target.reason}"))


def check_map(checks: Checks, saliency: Saliency, call: PluginCall) -> None:
    """Require a finite map, and warn if it is constant."""
    checks.add(
        finite(saliency.raw),
        lambda bad: call.attach_to(
            NonFiniteMapError(f"{call.description} returned NaN or infinity for images {bad} of the batch")
        ),
    )
    checks.add(
        ~saliency.constant,
        lambda bad: ConstantMapWarning(
            f"{call.key} found no evidence in images {bad} of the batch: their maps are constant, and the values are "
            "set to zero"
        ),
    )


def check_forward_passes(passes: Any, call: PluginCall) -> int:
    """Return the result of an explainer's `forward_passes`.

    Raises
    ------
    PluginContractError
        If it is not an integer from 0 to `MOST_PASSES`.
    """
    is_integer = isinstance(passes, Integral) and not isinstance(passes, bool)
    if not is_integer or not 0 <= int(passes) <= MOST_PASSES:
        raise PluginContractError(
            f"the `forward_passes` of {call.description} must return an integer from 0 to {MOST_PASSES:,}; "
            f"it returned {shown(passes)}"
        )
    return int(passes)


def check_direction(metric: Metric, call: PluginCall) -> bool:
    """Return a metric's `higher_is_better`.

    Raises
    ------
    PluginContractError
        If it is not True or False.
    """
    direction = getattr(metric, "higher_is_better", None)
    if not isinstance(direction, bool):
        raise PluginContractError(
            f"the `higher_is_better` of {call.description} must be True or False; it is {shown(direction)}"
        )
    return direction


def check_relevance(returned: object, call: PluginCall, batch: int, device: torch.device, dims: int = 2) -> None:
    """Require that the tensors that an explainer returned are dense, floating-point, and on the model's device.

    `Saliency.of` checks the type and the shape of the map. `dims` is 2 for images and 3 for volumes.

    Raises
    ------
    PluginContractError
        If a tensor does not meet these requirements, or parts and weights do not have their shapes.
    """
    raw, *others = returned if isinstance(returned, Relevance) else (returned, None, None)
    grid = "h,w" if dims == 2 else "d,h,w"
    if isinstance(raw, Tensor) and (problem := _problem(raw, device)):
        raise PluginContractError(
            f"{call.description} must return floating-point relevance [B,{grid}] on the model's device {device}; "
            f"it returned {problem}"
        )
    for tensor, name, dimensions in zip(others, (f"parts [B,P,{grid}]", "weights [B,K]"), (2 + dims, 2), strict=True):
        if tensor is None:
            continue
        problem = _problem(tensor, device)
        if not problem and (tensor.ndim != dimensions or len(tensor) != batch):
            problem = f"{list(tensor.shape)}"
        if problem:
            raise PluginContractError(
                f"{call.description} must return {name} with B={batch}, as a floating-point tensor on the model's "
                f"device {device}; it returned {problem}"
            )


def _problem(tensor: object, device: torch.device) -> str:
    """Describe a value that is not a dense floating-point tensor on a device, or return an empty string."""
    if not isinstance(tensor, Tensor):
        return f"a value of type {type(tensor).__name__}"
    if tensor.is_nested or tensor.layout is not torch.strided:
        return f"a tensor that is {'nested' if tensor.is_nested else 'sparse'}"
    if not tensor.is_floating_point():
        return f"{tensor.dtype} {list(tensor.shape)}"
    return "" if tensor.device == device else f"a tensor on {tensor.device}"


def check_result(checks: Checks, result: object, call: PluginCall, batch: int, device: torch.device) -> None:
    """Require one finite number per image, and a curve with one number at each of its fractions.

    Raises
    ------
    PluginContractError
        If the result is not a `MetricResult` of these shapes, in floating-point tensors on the model's device.
    """
    name = call.description
    if not isinstance(result, MetricResult) or not isinstance(result.values, Tensor):
        raise PluginContractError(
            f"{name} must return a MetricResult of one number per image; it returned {type(result).__name__}"
        )
    tensors = {"values": result.values, "curve": result.curve, "fractions": result.fractions}
    for part, tensor in tensors.items():
        if tensor is not None and (problem := _problem(tensor, device)):
            raise PluginContractError(
                f"{name} must return {part} in floating-point tensors on the model's device {device}; "
                f"it returned {problem}"
            )
    if result.values.shape != (batch,):
        raise PluginContractError(
            f"{name} must return one number per image, [{batch}]; it returned {list(result.values.shape)}"
        )
    if result.curve is not None or result.fractions is not None:
        curve, fractions = ([] if tensor is None else list(tensor.shape) for tensor in (result.curve, result.fractions))
        if len(fractions) != 1 or curve != [batch, *fractions]:
            raise PluginContractError(
                f"{name} must return a curve [B,S] with fractions [S] and B={batch}; "
                f"it returned {curve} and {fractions}"
            )
    checks.add(
        finite(result.values),
        lambda bad: call.attach_to(NonFiniteResultError(f"{name} is NaN or infinite for images {bad} of the batch")),
    )
