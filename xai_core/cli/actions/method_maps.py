"""Maps of several methods, of which each can fail without the others."""

from collections.abc import Mapping

from torch import Tensor

from xai_core.engine import Engine
from xai_core.errors import (
    ConvergenceError,
    LayerError,
    NoGradientError,
    NonFiniteMapError,
    NotConnectedError,
    OptionError,
    PluginError,
    UnsuitableError,
    XAIError,
)
from xai_core.explainer import Explainer
from xai_core.saliency_maps import SaliencyMaps
from xai_core.targets.target import TargetLike

METHOD_ERRORS = (
    UnsuitableError,
    LayerError,
    OptionError,
    NonFiniteMapError,
    NoGradientError,
    NotConnectedError,
    ConvergenceError,
    PluginError,
)
"""Errors of one method, after which other methods can run."""


def maps_of_each(
    engine: Engine, images: Tensor, explainers: Mapping[str, Explainer], target: TargetLike
) -> tuple[SaliencyMaps, dict[str, XAIError]]:
    """Return the maps of the methods, with their costs, and the error of each method that fails.

    All methods share one pass. If a method fails, the methods run one by one.
    """
    if not explainers:
        return SaliencyMaps(), {}
    try:
        return engine.explain(images, explainers, target, costs=True), {}
    except METHOD_ERRORS as error:
        if len(explainers) == 1:
            return SaliencyMaps(), dict.fromkeys(explainers, error)
    maps, failures = SaliencyMaps(), dict[str, XAIError]()
    for name, explainer in explainers.items():
        own, failed = maps_of_each(engine, images, {name: explainer}, target)
        maps.update(own)
        failures.update(failed)
    return maps, failures
