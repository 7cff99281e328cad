"""Plugins that return wrong values."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import xai_core as xai
from support.misbehavior.case import BadExplainer, BadMetric, Kind, Misbehavior
from xai_core.errors import LayerError, NonFiniteMapError, NonFiniteResultError, PluginContractError
from xai_core.plugin import Relevance


def _relevance(name: str, description: str, give: Callable[[Tensor], Any], message: str) -> Misbehavior:
    return Misbehavior(
        BadExplainer(f"returns-{name}", give=give), f"It returns {description}.", PluginContractError, message
    )


def wrong_needs(**fields: Any) -> xai.Needs:
    """Return needs with fields of wrong types, which the type checker of the tests does not see."""
    needs = xai.Needs()
    for name, value in fields.items():
        object.__setattr__(needs, name, value)
    return needs


def _needs(name: str, description: str, error: type[Exception] = PluginContractError, **fields: Any) -> Misbehavior:
    plugin = BadExplainer(f"needs-{name}", needs=lambda adapter: wrong_needs(**fields))
    return Misbehavior(plugin, f"Its `needs` contain {description}.", error)


def _passes(name: str, description: str, passes: Any) -> Misbehavior:
    plugin = BadExplainer(f"passes-{name}", forward_passes=lambda adapter: passes)
    message = "the `forward_passes` of .* must return an integer from 0 to"
    return Misbehavior(plugin, f"Its `forward_passes` are {description}.", PluginContractError, message)


def result(scores: Tensor, **fields: Any) -> xai.MetricResult:
    """Return a result with fields of wrong types."""
    made = xai.MetricResult(scores)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made


def curve(scores: Tensor, **fields: Any) -> xai.MetricResult:
    """Return a result with a curve of two points, some of whose fields have wrong types."""
    return result(scores, **{"curve": torch.stack([scores, scores], 1), "fractions": torch.linspace(0, 1, 2), **fields})


def _metric(
    name: str,
    description: str,
    give: Callable[[Tensor], Any],
    message: str,
    error: type[Exception] = PluginContractError,
) -> Misbehavior:
    return Misbehavior(
        BadMetric(f"metric-returns-{name}", give=give), f"It is a metric that returns {description}.", error, message
    )


NO_RELEVANCE = "must return floating-point relevance"
VALUES = Kind(
    "values",
    "Returned values",
    "Its results.",
    (
        _relevance("nothing", "None", lambda maps: None, NO_RELEVANCE),
        _relevance("list", "nested lists", lambda maps: maps.tolist(), NO_RELEVANCE),
        _relevance("array", "a NumPy array", lambda maps: maps.numpy(), NO_RELEVANCE),
        _relevance("one-map", "one map for all images", lambda maps: maps[0], NO_RELEVANCE),
        _relevance("few-maps", "too few maps", lambda maps: maps[1:], NO_RELEVANCE),
        _relevance("one-axis", "maps without a height", lambda maps: maps[:, 0], NO_RELEVANCE),
        _relevance("empty-maps", "empty maps", lambda maps: maps[:, :0], NO_RELEVANCE),
        _relevance("complex", "complex maps", lambda maps: maps + 0j, NO_RELEVANCE),
        _relevance("integers", "maps of integers", lambda maps: maps.int(), NO_RELEVANCE),
        _relevance("sparse", "sparse maps", lambda maps: maps.to_sparse(), "returned a tensor that is sparse"),
        _relevance("device", "maps on another device", lambda maps: maps.to("meta"), "returned a tensor on meta"),
        Misbehavior(
            BadExplainer("returns-nan", give=lambda maps: maps * math.nan),
            "It returns NaN.",
            NonFiniteMapError,
            "returned NaN or infinity",
        ),
        Misbehavior(
            BadExplainer("returns-infinity", give=lambda maps: maps / 0),
            "It returns infinity.",
            NonFiniteMapError,
            "returned NaN or infinity",
        ),
        _relevance("text-parts", "a string as parts", lambda maps: Relevance(maps, "parts"), "must return parts"),  # type: ignore[arg-type]
        _relevance(
            "complex-parts", "complex parts", lambda maps: Relevance(maps, maps[:, None] + 0j), "must return parts"
        ),
        _relevance(
            "flat-parts", "parts without an axis of parts", lambda maps: Relevance(maps, maps), "must return parts"
        ),
        _relevance(
            "flat-weights",
            "weights without a channel axis",
            lambda maps: Relevance(maps, None, maps[:, 0, 0]),
            "must return weights",
        ),
        Misbehavior(
            BadExplainer("needs-list", needs=lambda adapter: [1]),
            "Its `needs` are a list.",
            PluginContractError,
            "the `needs` of .* must return xai_core.Needs",
        ),
        _needs("missing-layer", "a layer that the model does not have", LayerError, activations=("layer9",)),
        _needs("number-as-layer", "a number instead of a layer", activations=(3,)),
        _needs("text-as-flag", "a string instead of a flag", gradients="yes"),
        _needs("tensor-as-flag", "a tensor instead of a flag", attention=torch.zeros(2)),
        _needs("text-as-gate", "a string instead of a gate", gates=("gate",)),
        _needs("text-as-rivals", "a string instead of a number of classes", rivals="two"),
        _needs("wrong-parts", "parts with a wrong field", parts=(wrong_needs(gates=3),)),
        _passes("text", "a string", "3"),
        _passes("negative", "negative", -1),
        _passes("nan", "NaN", math.nan),
        _passes("large", "more than any method needs", 10**30),
        _passes("tensor", "a tensor", torch.tensor(3)),
        _metric("tensor", "a tensor", lambda scores: scores, "must return a MetricResult"),
        _metric(
            "few-scores", "too few scores", lambda scores: xai.MetricResult(scores[:0]), "must return one number per"
        ),
        _metric(
            "nan", "NaN", lambda scores: xai.MetricResult(scores * math.nan), "is NaN or infinite", NonFiniteResultError
        ),
        _metric("complex", "complex scores", lambda s: result(s, values=s + 0j), "must return values"),
        _metric("flags", "flags", lambda s: result(s, values=s > 0), "must return values"),
        _metric("device", "scores on another device", lambda s: result(s, values=s.to("meta")), "must return values"),
        _metric("sparse", "sparse scores", lambda s: result(s, values=s.to_sparse()), "must return values"),
        _metric("text-curve", "a string as a curve", lambda s: curve(s, curve="curve"), "must return curve"),
        _metric(
            "complex-fractions",
            "complex fractions of a curve",
            lambda s: curve(s, fractions=torch.tensor([0, 1j])),
            "must return fractions",
        ),
    ),
)
