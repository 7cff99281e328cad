"""Saliency maps for PyTorch vision models, and metrics that measure how faithful the maps are.

`import xai_core` is fast: PyTorch and each public name are imported when the name is first used.
Plugin authors find further names in `xai_core.plugin`.
"""

from typing import TYPE_CHECKING

from xai_core.lazy import lazy_names

if TYPE_CHECKING:  # what type checkers and editors see; a test compares these imports with _SOURCES
    from xai_core.benchmarking.run import benchmark as benchmark
    from xai_core.benchmarking.store import Run as Run
    from xai_core.capture.attention_record import AttentionRecord as AttentionRecord
    from xai_core.capture.captured import Captured as Captured
    from xai_core.capture.needs import Needs as Needs
    from xai_core.data.ground_truth import model_mask as model_mask
    from xai_core.data.loading import load_image as load_image
    from xai_core.data.pairs import as_dataset as as_dataset
    from xai_core.data.sources import LoadedModel as LoadedModel
    from xai_core.data.sources import Sample as Sample
    from xai_core.drawing import draw as draw
    from xai_core.drawing import show as show
    from xai_core.engine import Engine as Engine
    from xai_core.errors import XAIError as XAIError
    from xai_core.explainer import Explainer as Explainer
    from xai_core.metric import Metric as Metric
    from xai_core.metric import MetricResult as MetricResult
    from xai_core.model.adapter import ModelAdapter as ModelAdapter
    from xai_core.plugins.creation import create_explainer as create_explainer
    from xai_core.plugins.creation import create_metric as create_metric
    from xai_core.plugins.creation import load_dataset as load_dataset
    from xai_core.plugins.creation import load_model as load_model
    from xai_core.plugins.hookspecs import hookimpl as hookimpl
    from xai_core.plugins.registry import list_datasets as list_datasets
    from xai_core.plugins.registry import list_explainers as list_explainers
    from xai_core.plugins.registry import list_metrics as list_metrics
    from xai_core.plugins.registry import list_models as list_models
    from xai_core.saliency import Saliency as Saliency
    from xai_core.targets.box import Box as Box
    from xai_core.targets.contrast import Contrast as Contrast
    from xai_core.targets.region import Region as Region
    from xai_core.targets.similarity import Similarity as Similarity
    from xai_core.targets.text import Text as Text
    from xai_core.targets.token import Token as Token
    from xai_core.version import __version__ as __version__
    from xai_core.web_app.launch import app as app

_SOURCES = {
    "__version__": "version",
    "AttentionRecord": "capture.attention_record",
    "Box": "targets.box",
    "Captured": "capture.captured",
    "Contrast": "targets.contrast",
    "Engine": "engine",
    "Explainer": "explainer",
    "LoadedModel": "data.sources",
    "Metric": "metric",
    "MetricResult": "metric",
    "ModelAdapter": "model.adapter",
    "Needs": "capture.needs",
    "Region": "targets.region",
    "Run": "benchmarking.store",
    "Saliency": "saliency",
    "Sample": "data.sources",
    "Similarity": "targets.similarity",
    "Text": "targets.text",
    "Token": "targets.token",
    "XAIError": "errors",
    "app": "web_app.launch",
    "as_dataset": "data.pairs",
    "benchmark": "benchmarking.run",
    "create_explainer": "plugins.creation",
    "create_metric": "plugins.creation",
    "draw": "drawing",
    "hookimpl": "plugins.hookspecs",
    "list_datasets": "plugins.registry",
    "list_explainers": "plugins.registry",
    "list_metrics": "plugins.registry",
    "list_models": "plugins.registry",
    "load_dataset": "plugins.creation",
    "load_image": "data.loading",
    "load_model": "plugins.creation",
    "model_mask": "data.ground_truth",
    "show": "drawing",
}

__all__ = [name for name in _SOURCES if name != "__version__"]

if not TYPE_CHECKING:  # a type checker that saw `__getattr__` would accept every misspelled name
    __getattr__, __dir__ = lazy_names(__name__, _SOURCES)
