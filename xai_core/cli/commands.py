"""Base of every command line of the project: one-line errors, `--version` and `--debug`."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from xai_core.errors import CheckpointWarning, XAIError


class Commands(TyperGroup):
    """Group of commands that prints an `XAIError` as one line and exits with code 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with _short_warnings():
                return super().invoke(ctx)
        except XAIError as error:
            if ctx.params["debug"]:
                raise
            from xai_core.cli.console import complain
            from xai_core.isolation.error_context import message_with_notes

            complain(f"error: {message_with_notes(error)}")
            raise typer.Exit(2) from None


@contextmanager
def _short_warnings() -> Iterator[None]:
    """Print warnings about weights files as one line, without the line of code that issued them."""
    before = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *location: Any, **options: Any) -> None:
        if issubclass(category, CheckpointWarning):
            from xai_core.cli.console import warn

            warn(f"warning: {message}")
        else:
            before(message, category, *location, **options)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before


def command_line(distribution: str, purpose: str) -> typer.Typer:
    """Return a command line without commands.

    Parameters
    ----------
    distribution
        Name of the package whose version `--version` prints.
    purpose
        Help text of the command line.
    """
    app = typer.Typer(
        cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
    )

    def show_version(wanted: bool) -> None:
        if wanted:
            from importlib.metadata import version  # takes longer than the rest of this module

            typer.echo(f"{distribution} {version(distribution)}")
            raise typer.Exit

    @app.callback(help=purpose)
    def options(
        version: Annotated[
            bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
        ] = False,
        debug: Annotated[
            bool, typer.Option("--debug", envvar="XAI_DEBUG", help="Show the tracebacks of errors.")
        ] = False,
    ) -> None:
        pass

    return app
