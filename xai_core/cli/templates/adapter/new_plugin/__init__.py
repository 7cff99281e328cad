"""NewPlugin for xai-core."""

import xai_core as xai
from new_plugin.adapter import NewPluginAdapter
from new_plugin.source import NewPluginModel
from xai_core.plugin import ModelSource

__all__ = ["NewPluginAdapter", "NewPluginModel"]


@xai.hookimpl
def xai_adapters() -> list[type[xai.ModelAdapter]]:
    """Register the model adapters of this plugin."""
    return [NewPluginAdapter]


@xai.hookimpl
def xai_models() -> list[type[ModelSource]]:
    """Register the model that `xai plugin check` applies the adapter to."""
    return [NewPluginModel]
