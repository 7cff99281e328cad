"""Conformance checks of explainers: side effects on the model, global state, memory and other threads."""

import contextlib
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from xai_core.errors import ConstantMapWarning, NotCapturedError, SideEffectError
from xai_core.testing.check import require
from xai_core.testing.explainer_case import (
    DeliberateError,
    ExplainerCase,
    HostTransferRecorder,
    RaisingHook,
    WriteRecorder,
    largest_difference,
    require_same,
)
from xai_core.testing.networks import random_images
from xai_core.testing.side_effects import changes, leaked_bytes, model_snapshot, seed_global_generators

USE_A_COPY = "to place hooks or to change the model, use `captured.shared_model()`"


def is_deterministic(case: ExplainerCase) -> None:
    """Repeated calls return the same map, and do not use the global random number generators."""
    for label, model in case.each():
        engine = case.engine(label, model)
        seed_global_generators(1)
        first = case.explain(engine, random_images())
        seed_global_generators(2)
        second = case.explain(engine, random_images())
        require(
            torch.equal(first.raw, second.raw),
            f"for {label}, two calls differ by {largest_difference(first.values, second.values):.1g}; draw random "
            "numbers from a torch.Generator with a seed that is an option",
        )


def leaves_model_unchanged(case: ExplainerCase) -> None:
    """Weights, buffers, gradients, hooks and flags do not change, even in training mode or after an exception."""
    for label, model in case.each():
        model.train()
        next(model.children()).eval()
        before = model_snapshot(model)
        case.explain(case.engine(label, model), random_images())
        changed = changes(before, model_snapshot(model))
        require(not changed, f"for {label}, `explain` changed {changed}; {USE_A_COPY}")
        for call in (1, 2, 3):
            handle = list(model.modules())[-1].register_forward_hook(RaisingHook(call))
            with contextlib.suppress(DeliberateError):
                case.explain(case.engine(label, model), random_images())
            handle.remove()
            changed = changes(before, model_snapshot(model))
            require(
                not changed,
                f"for {label}, after an exception inside the model, changes remain in {changed}; {USE_A_COPY}",
            )


def leaves_inputs_unchanged(case: ExplainerCase) -> None:
    """`explain` does not write to the images or to captured tensors, which other explainers share."""
    for label, model in case.each():
        recorder = WriteRecorder(case.explainer)
        with contextlib.suppress(SideEffectError):  # this check reports the write in a shorter message
            ExplainerCase(recorder).explain(case.engine(label, model), random_images())
        require(
            not recorder.written,
            f"for {label}, `explain` writes to {' and '.join(recorder.written)}, which other explainers share; write "
            "to a clone",
        )


def uses_only_declared_needs(case: ExplainerCase) -> None:
    """`explain` reads only what `needs` declares, and runs the model only through methods of `Captured`."""
    for label, model in case.each():
        active = threading.local()

        def forward(model: nn.Module, images: Tensor, active: Any = active) -> Any:
            active.depth = getattr(active, "depth", 0) + 1
            try:
                return model(images)
            finally:
                active.depth -= 1

        direct_calls: list[str] = []

        def watch(*_: Any, active: Any = active, direct_calls: list[str] = direct_calls) -> None:
            if not getattr(active, "depth", 0):
                direct_calls.append("the model")

        handle = model.register_forward_pre_hook(watch)
        try:
            case.explain(case.engine(label, model, forward=forward), random_images())
        except NotCapturedError as error:
            require(False, f"for {label}: {error}")
        finally:
            handle.remove()
        require(
            not direct_calls,
            f"for {label}, the model was called directly {len(direct_calls)} times; score images with "
            "`captured.model_score(images)`, which respects the memory budget, the `forward=` of the user and "
            "evaluation mode",
        )


def avoids_host_transfers(case: ExplainerCase) -> None:
    """No value is copied to the host: no `.item()`, `.cpu()`, `.tolist()`, `if tensor:` or data-dependent shape."""
    for label, model in case.each():
        recorder = HostTransferRecorder(case.explainer)
        ExplainerCase(recorder).explain(case.engine(label, model), random_images())
        require(
            not recorder.transfers,
            f"for {label}, `explain` transfers values from the device to the host: {'; '.join(recorder.transfers[:3])}",
        )


def retains_no_tensors(case: ExplainerCase) -> None:
    """The explainer, its class and its module keep no tensors in memory after the map is discarded."""
    for label, model in case.each():
        engine = case.engine(label, model)
        case.explain(engine, random_images())  # caches that are filled once are allowed
        leaked = leaked_bytes(partial(case.explain, engine, random_images()))
        require(
            not leaked,
            f"for {label}, {leaked} bytes of tensors remain in memory after the map is discarded; do not store tensors",
        )


def is_thread_safe(case: ExplainerCase) -> None:
    """Two threads that share a model and an explainer get the same maps as one thread."""
    batches = [random_images(seed=seed).double() for seed in (1, 5)]
    for label, model in case.each():
        explain = partial(case.explain, case.engine(label, model.double()))
        expected = [case.reference(label), explain(batches[1])]
        with warnings.catch_warnings(), ThreadPoolExecutor(2) as pool:
            warnings.simplefilter("ignore", ConstantMapWarning)  # warning filters apply to all threads
            concurrent = list(pool.map(explain, batches * 3))
        for index, saliency in enumerate(concurrent):
            require_same(saliency.values, expected[index % 2].values, f"for {label}, with one thread and with two")
