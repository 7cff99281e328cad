"""NewPlugin for xai-core."""

import xai_core as xai
from new_plugin.explainer import NewPlugin

__all__ = ["NewPlugin"]


@xai.hookimpl
def xai_explainers() -> list[type[xai.Explainer]]:
    """Register the explainers of this plugin."""
    return [NewPlugin]
