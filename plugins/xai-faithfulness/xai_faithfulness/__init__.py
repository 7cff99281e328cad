"""Faithfulness metrics for xai-core."""

import xai_core as xai
from xai_faithfulness.curves import auc, curve
from xai_faithfulness.deletion import Deletion
from xai_faithfulness.insertion import Insertion

__all__ = ["Deletion", "Insertion", "auc", "curve"]


@xai.hookimpl
def xai_metrics() -> list[type[xai.Metric]]:
    """Give the metrics of this plugin."""
    return [Deletion, Insertion]
