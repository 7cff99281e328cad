"""Saliency maps for PyTorch vision models, and metrics that measure how faithful the maps are.

`import xai_core` is fast: PyTorch and each public name are imported when the name is first used.
Plugin authors find further names in `xai_core.plugin`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the imports that type checkers and editors see; a test compares them with _MODULES
    from xai_core.benchmarking.run import benchmark as benchmark
    from xai_core.benchmarking.store import Run as Run
    from xai_core.capture.attention_record import AttentionRecord as AttentionRecord
    from xai_core.capture.captured import Captured as Captured
    from xai_core.capture.needs import Needs as Needs
    from xai_core.data.ground_truth import model_mask as model_mask
    from xai_core.data.pairs import as_dataset as as_dataset
    from xai_core.data.sources import LoadedModel as LoadedModel
    from xai_core.data.sources import Sample as Sample
    from xai_core.engine import Engine as Engine
    from xai_core.errors import XAIError as XAIError
    from xai_core.explainer import Explainer as Explainer
    from xai_core.metric import Metric as Metric
    from xai_core.metric import MetricResult as MetricResult
    from xai_core.model.adapter import ModelAdapter as ModelAdapter
    from xai_core.plugins.hookspecs import hookimpl as hookimpl
    from xai_core.plugins.registry import create_explainer as create_explainer
    from xai_core.plugins.registry import create_metric as create_metric
    from xai_core.plugins.registry import list_datasets as list_datasets
    from xai_core.plugins.registry import list_explainers as list_explainers
    from xai_core.plugins.registry import list_metrics as list_metrics
    from xai_core.plugins.registry import list_models as list_models
    from xai_core.plugins.registry import load_dataset as load_dataset
    from xai_core.plugins.registry import load_model as load_model
    from xai_core.saliency import Saliency as Saliency
    from xai_core.targets.contrast import Contrast as Contrast
    from xai_core.targets.region import Region as Region
    from xai_core.targets.similarity import Similarity as Similarity

_MODULES = {
    "AttentionRecord": "capture.attention_record",
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
    "XAIError": "errors",
    "as_dataset": "data.pairs",
    "benchmark": "benchmarking.run",
    "create_explainer": "plugins.registry",
    "create_metric": "plugins.registry",
    "hookimpl": "plugins.hookspecs",
    "list_datasets": "plugins.registry",
    "list_explainers": "plugins.registry",
    "list_metrics": "plugins.registry",
    "list_models": "plugins.registry",
    "load_dataset": "plugins.registry",
    "load_model": "plugins.registry",
    "model_mask": "data.ground_truth",
}

__all__ = list(_MODULES)
__version__: str

if not TYPE_CHECKING:  # a type checker that saw `__getattr__` would accept every misspelled name

    def __getattr__(name: str) -> Any:
        """Import a public name at its first use and keep it."""
        if name == "__version__":
            from importlib.metadata import version  # takes longer than the rest of this module

            value = version("xai-core")
        elif name in _MODULES:
            value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        """Return the public names."""
        return [*__all__, "__version__"]
