"""`xai plugin`: what authors of plugins need."""

import typer

from xai_core.cli.plugin_check import check
from xai_core.cli.plugin_new import new

plugin = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Begin a plugin, and check one.")
plugin.command()(new)
plugin.command()(check)
