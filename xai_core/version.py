"""The version of the installed xai-core."""

from importlib.metadata import version

__version__ = version("xai-core")
