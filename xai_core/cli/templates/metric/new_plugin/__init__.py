"""NewPlugin for xai-core."""

import xai_core as xai
from new_plugin.metric import NewPlugin

__all__ = ["NewPlugin"]


@xai.hookimpl
def xai_metrics() -> list[type[xai.Metric]]:
    """Register the metrics of this plugin."""
    return [NewPlugin]
