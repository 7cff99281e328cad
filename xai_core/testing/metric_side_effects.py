"""Conformance checks of metrics: side effects on the model, the inputs, global state and memory."""

import contextlib

import torch

from xai_core.errors import SideEffectError
from xai_core.testing.check import require
from xai_core.testing.metric_case import MetricCase, MetricRecorder
from xai_core.testing.networks import convolutional_network, random_images
from xai_core.testing.side_effects import changes, leaked_bytes, model_snapshot, seed_global_generators


def is_deterministic(case: MetricCase) -> None:
    """Repeated calls return the same scores, and do not use the global random number generators."""
    model, images = convolutional_network(), random_images()
    saliency = case.maps(model, images)
    seed_global_generators(1)
    first = case.score(model, images, saliency)
    seed_global_generators(2)
    second = case.score(model, images, saliency)
    require(
        torch.equal(first.values, second.values),
        "two calls return different scores; draw random numbers from a torch.Generator with a seed that is an option",
    )


def leaves_model_unchanged(case: MetricCase) -> None:
    """Weights, buffers, gradients, hooks and flags do not change, even in training mode."""
    model, images = convolutional_network().train(), random_images()
    model.get_submodule("stem").eval()
    before = model_snapshot(model)
    case.score(model, images, case.maps(model, images))
    changed = changes(before, model_snapshot(model))
    require(not changed, f"`evaluate` changed {changed}; modify only a copy, `copy.deepcopy(evaluation.model)`")


def leaves_inputs_unchanged(case: MetricCase) -> None:
    """`evaluate` does not write to the images, the masks or the maps, which other metrics share."""
    model, images = convolutional_network(), random_images()
    recorder = MetricRecorder(case.metric)
    with contextlib.suppress(SideEffectError):  # the message of this check is shorter
        case.score(model, images, case.maps(model, images), recorder)
    require(
        not recorder.written,
        f"`evaluate` writes to {' and '.join(recorder.written)}, which other metrics share; write to a clone",
    )


def avoids_host_transfers(case: MetricCase) -> None:
    """No value is copied to the host: no `.item()`, `.cpu()`, `.tolist()`, `if tensor:` or data-dependent shape."""
    model, images = convolutional_network(), random_images()
    recorder = MetricRecorder(case.metric)
    case.score(model, images, case.maps(model, images), recorder)
    require(
        not recorder.transfers,
        f"`evaluate` transfers values from the device to the host: {'; '.join(recorder.transfers[:3])}",
    )


def retains_no_tensors(case: MetricCase) -> None:
    """The metric, its class and its module keep no tensors in memory after the score is discarded."""
    model, images = convolutional_network(), random_images()
    saliency = case.maps(model, images)
    case.score(model, images, saliency)  # caches that are filled once are allowed
    leaked = leaked_bytes(lambda: case.score(model, images, saliency))
    require(
        not leaked, f"{leaked} bytes of tensors remain in memory after the score is discarded; do not store tensors"
    )
