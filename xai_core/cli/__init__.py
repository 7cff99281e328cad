"""The command line: `xai demo`, `xai explain`, `xai list`."""

from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from xai_core.cli.console import complain
from xai_core.cli.demo import demo
from xai_core.cli.explain import explain
from xai_core.cli.listing import listing
from xai_core.errors import XAIError


class Commands(TyperGroup):
    """Commands whose errors, where they are ours, are shown as one line."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except XAIError as error:
            if ctx.params["debug"]:
                raise
            complain(f"error: {error}")
            raise typer.Exit(2) from None


app = typer.Typer(
    cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)
app.command()(demo)
app.command()(explain)
app.command("list")(listing)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"xai-core {version('xai-core')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", envvar="XAI_DEBUG", help="Show tracebacks of errors.")] = False,
) -> None:
    """Explain PyTorch vision models: saliency maps, and how faithful they are."""


def main() -> None:
    """Run the command line."""
    app(prog_name="xai")
