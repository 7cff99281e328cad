"""NewPlugin for xai-core."""

import xai_core as xai
from new_plugin.source import NewPluginModels
from xai_core.plugin import ModelSource

__all__ = ["NewPluginModels"]


@xai.hookimpl
def xai_models() -> list[type[ModelSource]]:
    """Register the model sources of this plugin."""
    return [NewPluginModels]
