"""Plugins that write in place to tensors that plugins share."""

from typing import Any

import torch

import xai_core as xai
from support.misbehavior.case import BadExplainer, BadMetric, Kind, Misbehavior
from xai_core.errors import SideEffectError
from xai_core.plugin import Evaluation


def _case(plugin: Any, target: str, written: str = "") -> Misbehavior:
    message = f"wrote in place to {written or target}, which"
    return Misbehavior(plugin, f"It writes in place to {target}.", SideEffectError, message)


def _with_gates(adapter: xai.ModelAdapter) -> xai.Needs:
    return xai.Needs((adapter.default_layer,), gates=adapter.probe.gates)


def _fill_view(captured: xai.Captured) -> None:
    captured.images[:, 0].detach().flatten(1)[:, 3:].fill_(1)


WRITES = Kind(
    "writes",
    "In-place writes",
    "Its results.",
    (
        _case(BadExplainer("writes-images", lambda c: c.images.mul_(0)), "the images"),
        _case(BadExplainer("writes-image-view", _fill_view), "a view of the images", "the images"),
        _case(BadExplainer("writes-activations", lambda c: c.activation().zero_()), "the activations"),
        _case(
            BadExplainer("writes-gradients", lambda c: c.gradient().relu_(), needs={"gradients": True}), "the gradients"
        ),
        _case(
            BadExplainer("writes-image-gradients", lambda c: c.image_gradient.abs_(), needs={"image_gradient": True}),
            "the gradients of the images",
            "the gradients",
        ),
        _case(
            BadExplainer("writes-curvatures", lambda c: c.curvature().zero_(), needs={"curvature": True}),
            "the curvatures",
        ),
        _case(
            BadExplainer(
                "writes-rivals",
                lambda c: c.rivals[0].gradient().zero_(),
                needs={"gradients": True, "rivals": 1},
            ),
            "the gradients of another class",
            "the gradients",
        ),
        _case(BadExplainer("writes-output", lambda c: c.output.zero_()), "the model's output"),
        _case(BadExplainer("writes-target", lambda c: c.target.ids.zero_()), "the target"),
        _case(BadExplainer("writes-gates", lambda c: c.gates[0].values.zero_(), needs=_with_gates), "the gates"),
        _case(BadMetric("metric-writes-images", lambda e, s: e.images.zero_()), "the images of a metric", "the images"),
        _case(
            BadMetric("metric-writes-maps", lambda e, s: s.values.zero_()),
            "the maps",
            "the maps or their target",
        ),
        _case(
            BadMetric("metric-writes-relevance", lambda e, s: s.raw.zero_()),
            "the relevance before resizing",
            "the maps or their target",
        ),
        _case(
            BadMetric("metric-writes-target", lambda e, s: s.target.ids.add_(1)),
            "the target of the maps",
            "the maps or their target",
        ),
        _case(BadMetric("metric-writes-masks", lambda e, s: e.masks.logical_not_()), "the masks"),
    ),
)


def _requires_gradients(captured: xai.Captured) -> None:
    with torch.enable_grad():
        captured.activation().requires_grad_().square().sum().backward()
        captured.images.requires_grad_()


def _replace_attributes(captured: xai.Captured) -> None:
    captured.adapter.spatial = captured.adapter.layer_name = None  # type: ignore[assignment, method-assign]


def _replace_evaluation(evaluation: Evaluation, saliency: xai.Saliency) -> None:
    evaluation.images = evaluation.model_score = None  # type: ignore[assignment, misc]


ATTRIBUTES = Kind(
    "attributes",
    "Attributes of arguments",
    "Nothing, because each plugin receives its own copy.",
    (
        Misbehavior(BadExplainer("sets-adapter", _replace_attributes), "It sets attributes of the adapter."),
        Misbehavior(
            BadExplainer("sets-captured", lambda c: setattr(c, "images", None)),
            "It sets attributes of the captured pass.",
        ),
        Misbehavior(
            BadExplainer("requires-gradients", _requires_gradients),
            "It requires gradients of the images and the activations, and runs a backward pass.",
            cost="Nothing, because the flags and gradients are removed.",
        ),
        Misbehavior(
            BadMetric("sets-evaluation", _replace_evaluation),
            "It sets attributes of the evaluation.",
        ),
    ),
)
