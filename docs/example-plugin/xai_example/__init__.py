"""NormGrad and sparseness for xai-core."""

import xai_core as xai
from xai_example.norm_grad import NormGrad
from xai_example.sparseness import Sparseness

__all__ = ["NormGrad", "Sparseness"]


@xai.hookimpl
def xai_explainers() -> list[type[xai.Explainer]]:
    """Register the explainers of this plugin."""
    return [NormGrad]


@xai.hookimpl
def xai_metrics() -> list[type[xai.Metric]]:
    """Register the metrics of this plugin."""
    return [Sparseness]
