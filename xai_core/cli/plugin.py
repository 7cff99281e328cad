"""The subcommands of `xai plugin`."""

import typer

from xai_core.cli.plugin_check import check
from xai_core.cli.plugin_new import new

plugin = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Create or check a plugin.")
plugin.command()(new)
plugin.command()(check)
