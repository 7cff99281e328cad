"""Names that plugin authors need besides the public names of `xai_core`."""

from xai_core.data.sources import Dataset, DatasetSource, ModelSource
from xai_core.errors import (
    CheckpointError,
    FileError,
    ImageFileError,
    InputShapeError,
    InputTypeError,
    LayerError,
    NonFiniteOutputError,
    NotConnectedError,
    OptionError,
    TargetError,
    UnknownDatasetError,
    UnknownModelError,
    UnsuitableError,
)
from xai_core.metric import Evaluation
from xai_core.model.attention import AttentionLayer
from xai_core.model.gates import Gate, Gated
from xai_core.model.layouts import Features, Layer
from xai_core.model.probe import Probe
from xai_core.model.shared_copy import SharedModel
from xai_core.perturb import Baseline, ModelScorer, baseline_images, ranks, steps_of
from xai_core.plugins.hookspecs import CONTRACT
from xai_core.saliency import Relevance, normalize, relevance, resize
from xai_core.targets.target import BoundTarget, Target, TargetLike

__all__ = [
    "CONTRACT",
    "AttentionLayer",
    "Baseline",
    "BoundTarget",
    "CheckpointError",
    "Dataset",
    "DatasetSource",
    "Evaluation",
    "Features",
    "FileError",
    "Gate",
    "Gated",
    "ImageFileError",
    "InputShapeError",
    "InputTypeError",
    "Layer",
    "LayerError",
    "ModelScorer",
    "ModelSource",
    "NonFiniteOutputError",
    "NotConnectedError",
    "OptionError",
    "Probe",
    "Relevance",
    "SharedModel",
    "Target",
    "TargetError",
    "TargetLike",
    "UnknownDatasetError",
    "UnknownModelError",
    "UnsuitableError",
    "baseline_images",
    "normalize",
    "ranks",
    "relevance",
    "resize",
    "steps_of",
]
