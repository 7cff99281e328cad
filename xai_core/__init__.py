"""xai-core: saliency maps for PyTorch vision models, and how faithful they are."""

from xai_core.benchmarking import Run, benchmark
from xai_core.capture.attention_record import AttentionRecord
from xai_core.capture.captured import Captured
from xai_core.capture.needs import Needs
from xai_core.data.ground_truth import model_mask
from xai_core.data.pairs import as_dataset
from xai_core.data.sources import Dataset, DatasetSource, LoadedModel, ModelSource, Sample
from xai_core.engine import Engine
from xai_core.errors import XAIError
from xai_core.explainer import Explainer
from xai_core.metric import Evaluation, Metric, MetricResult
from xai_core.model.adapter import ModelAdapter
from xai_core.model.attention import AttentionLayer
from xai_core.model.gates import Gate, Gated
from xai_core.model.layouts import Layer
from xai_core.model.probe import Probe
from xai_core.perturb import Baseline, ModelScorer, baseline_images, ranks, steps_of
from xai_core.plugins.hookspecs import CONTRACT, hookimpl
from xai_core.plugins.registry import (
    create_explainer,
    create_metric,
    list_datasets,
    list_explainers,
    list_metrics,
    list_models,
    load_dataset,
    load_model,
)
from xai_core.saliency import Relevance, Saliency, normalize, relevance, resize
from xai_core.targets.contrast import Contrast
from xai_core.targets.region import Region
from xai_core.targets.similarity import Similarity
from xai_core.targets.target import Target, TargetLike

__all__ = [
    "CONTRACT",
    "AttentionLayer",
    "AttentionRecord",
    "Baseline",
    "Captured",
    "Contrast",
    "Dataset",
    "DatasetSource",
    "Engine",
    "Evaluation",
    "Explainer",
    "Gate",
    "Gated",
    "Layer",
    "LoadedModel",
    "Metric",
    "MetricResult",
    "ModelAdapter",
    "ModelScorer",
    "ModelSource",
    "Needs",
    "Probe",
    "Region",
    "Relevance",
    "Run",
    "Saliency",
    "Sample",
    "Similarity",
    "Target",
    "TargetLike",
    "XAIError",
    "as_dataset",
    "baseline_images",
    "benchmark",
    "create_explainer",
    "create_metric",
    "hookimpl",
    "list_datasets",
    "list_explainers",
    "list_metrics",
    "list_models",
    "load_dataset",
    "load_model",
    "model_mask",
    "normalize",
    "ranks",
    "relevance",
    "resize",
    "steps_of",
]
