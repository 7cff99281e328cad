"""NewPlugin for xai-core."""

import xai_core as xai
from new_plugin.source import NewPluginImages

__all__ = ["NewPluginImages"]


@xai.hookimpl
def xai_datasets() -> list[type[xai.DatasetSource]]:
    """Give the data sources of this plugin."""
    return [NewPluginImages]
