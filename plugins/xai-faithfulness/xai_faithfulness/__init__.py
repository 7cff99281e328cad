"""Metrics of saliency maps, and control methods whose maps do not depend on the model."""

import xai_core as xai
from xai_faithfulness.adcc import ADCC
from xai_faithfulness.aopc import AOPC
from xai_faithfulness.average_drop import AverageDrop
from xai_faithfulness.average_gain import AverageGain
from xai_faithfulness.average_increase import AverageIncrease
from xai_faithfulness.coherency import Coherency
from xai_faithfulness.complexity import Complexity
from xai_faithfulness.controls.blurred import Blurred
from xai_faithfulness.controls.center import Center
from xai_faithfulness.controls.edges import Edges
from xai_faithfulness.controls.flattened import Flattened
from xai_faithfulness.controls.random import Random
from xai_faithfulness.curves import auc, score_curve
from xai_faithfulness.deletion import Deletion
from xai_faithfulness.faithfulness_correlation import FaithfulnessCorrelation
from xai_faithfulness.infidelity import Infidelity
from xai_faithfulness.insertion import Insertion
from xai_faithfulness.irof import IROF
from xai_faithfulness.localization.energy_pointing_game import EnergyPointingGame
from xai_faithfulness.localization.iou import IoU
from xai_faithfulness.localization.pointing_game import PointingGame
from xai_faithfulness.localization.relevance_mass import RelevanceMass
from xai_faithfulness.localization.relevance_rank import RelevanceRank
from xai_faithfulness.matched_drop import MatchedDrop
from xai_faithfulness.max_sensitivity import MaxSensitivity
from xai_faithfulness.parameter_randomization import ParameterRandomization
from xai_faithfulness.pixel_flipping import PixelFlipping
from xai_faithfulness.road import ROAD
from xai_faithfulness.sensitivity_n import SensitivityN
from xai_faithfulness.srg import SRG

__all__ = [
    "ADCC",
    "AOPC",
    "IROF",
    "ROAD",
    "SRG",
    "AverageDrop",
    "AverageGain",
    "AverageIncrease",
    "Blurred",
    "Center",
    "Coherency",
    "Complexity",
    "Deletion",
    "Edges",
    "EnergyPointingGame",
    "FaithfulnessCorrelation",
    "Flattened",
    "Infidelity",
    "Insertion",
    "IoU",
    "MatchedDrop",
    "MaxSensitivity",
    "ParameterRandomization",
    "PixelFlipping",
    "PointingGame",
    "Random",
    "RelevanceMass",
    "RelevanceRank",
    "SensitivityN",
    "auc",
    "score_curve",
]


@xai.hookimpl
def xai_metrics() -> list[type[xai.Metric]]:
    """Return the metrics of this plugin."""
    return [
        Deletion,
        Insertion,
        SRG,
        PixelFlipping,
        AOPC,
        IROF,
        AverageDrop,
        AverageIncrease,
        AverageGain,
        MatchedDrop,
        Coherency,
        Complexity,
        ADCC,
        SensitivityN,
        FaithfulnessCorrelation,
        Infidelity,
        MaxSensitivity,
        ParameterRandomization,
        EnergyPointingGame,
        IoU,
        PointingGame,
        RelevanceMass,
        RelevanceRank,
        ROAD,
    ]


@xai.hookimpl
def xai_explainers() -> list[type[xai.Explainer]]:
    """Return the control methods."""
    return [Center, Edges, Random, Flattened, Blurred]
