"""Options of `xai list`."""

from typing import Annotated

import typer

from xai_core.cli.options import Kind


def listing(
    kind: Annotated[
        Kind | None,
        typer.Argument(
            metavar="KIND",
            help="Kind of name to list: methods, metrics, models, datasets or plugins.  [default: all]",
            show_default=False,
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="NAME", help="List the models of this model source, one spec per line.")
    ] = None,
) -> None:
    """List installed methods, metrics, models and datasets.

    The list also shows which plugin provides each name. `xai list models --source timm` lists the models of the source
    `timm`.
    """
    from xai_core.cli.actions.listing import print_models, print_tables

    if source is None:
        print_tables([*Kind] if kind is None else [kind])
    elif kind in (None, Kind.models):
        print_models(source)
    else:
        raise typer.BadParameter(
            f"only `xai list models` has this option, got `xai list {kind}`", param_hint="--source"
        )
