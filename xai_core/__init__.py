"""xai-core: saliency maps for PyTorch vision models, and how faithful they are."""

from xai_core.adapter import ModelAdapter
from xai_core.attention import AttentionLayer
from xai_core.attention_record import AttentionRecord
from xai_core.benchmark import Run, benchmark
from xai_core.captured import Captured
from xai_core.contrast import Contrast
from xai_core.engine import Engine
from xai_core.errors import XAIError
from xai_core.explainer import Explainer
from xai_core.gates import Gate, Gated
from xai_core.hookspecs import CONTRACT, hookimpl
from xai_core.metric import Evaluation, Metric, Score
from xai_core.pairs import as_dataset
from xai_core.perturb import Baseline, Scorer, baseline_images, ranks, steps_of
from xai_core.plan import Capture, Layer
from xai_core.probe import Probe
from xai_core.region import Region
from xai_core.registry import (
    create_explainer,
    create_metric,
    list_datasets,
    list_explainers,
    list_metrics,
    list_models,
    load_dataset,
    load_model,
)
from xai_core.saliency import Relevance, Saliency, normalise, relevance, resize
from xai_core.similarity import Similarity
from xai_core.source import Dataset, DatasetSource, LoadedModel, ModelSource, Sample
from xai_core.target import Question, TargetLike
from xai_core.truth import model_mask

__all__ = [
    "CONTRACT",
    "AttentionLayer",
    "AttentionRecord",
    "Baseline",
    "Capture",
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
    "ModelAdapter",
    "ModelSource",
    "Probe",
    "Question",
    "Region",
    "Relevance",
    "Run",
    "Saliency",
    "Sample",
    "Score",
    "Scorer",
    "Similarity",
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
    "normalise",
    "ranks",
    "relevance",
    "resize",
    "steps_of",
]
