"""Faithfulness metrics for xai-core."""

import xai_core as xai
from xai_faithfulness.adcc import ADCC
from xai_faithfulness.aopc import AOPC
from xai_faithfulness.average_drop import AverageDrop
from xai_faithfulness.average_increase import AverageIncrease
from xai_faithfulness.coherency import Coherency
from xai_faithfulness.complexity import Complexity
from xai_faithfulness.curves import auc, curve
from xai_faithfulness.deletion import Deletion
from xai_faithfulness.insertion import Insertion
from xai_faithfulness.irof import IROF
from xai_faithfulness.pixel_flipping import PixelFlipping
from xai_faithfulness.srg import SRG

__all__ = [
    "ADCC",
    "AOPC",
    "IROF",
    "SRG",
    "AverageDrop",
    "AverageIncrease",
    "Coherency",
    "Complexity",
    "Deletion",
    "Insertion",
    "PixelFlipping",
    "auc",
    "curve",
]


@xai.hookimpl
def xai_metrics() -> list[type[xai.Metric]]:
    """Give the metrics of this plugin."""
    return [
        Deletion,
        Insertion,
        SRG,
        PixelFlipping,
        AOPC,
        IROF,
        AverageDrop,
        AverageIncrease,
        Coherency,
        Complexity,
        ADCC,
    ]
