"""NewPlugin for xai-core."""

import xai_core as xai
from new_plugin.source import NewPluginImages
from xai_core.plugin import DatasetSource

__all__ = ["NewPluginImages"]


@xai.hookimpl
def xai_datasets() -> list[type[DatasetSource]]:
    """Register the dataset sources of this plugin."""
    return [NewPluginImages]
