"""Options of `xai list`."""

from typing import Annotated

import typer

from xai_core.cli.options import Kind


def listing(
    kind: Annotated[
        Kind | None,
        typer.Argument(
            metavar="KIND",
            help="Kind of name: methods, metrics, models, datasets, plugins or layers.  [default: all but layers]",
            show_default=False,
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="NAME", help="List the models of this model source, one spec per line.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="SPEC", help="Model whose layers are listed, for `xai list layers`.")
    ] = None,
) -> None:
    """List methods, metrics, models, datasets, plugins or layers.

    The list also shows which plugin provides each name. `xai list models --source timm` lists the models of the source
    `timm`. `xai list layers --model timm:resnet18` lists the layers of a model. Many methods have the option `layer`,
    which selects one of them.
    """
    from xai_core.cli.actions.listing import print_models, print_tables

    if (kind is Kind.layers) != (model is not None):
        raise typer.BadParameter("expected `xai list layers --model SPEC`", param_hint="--model")
    if model is not None and source is None:
        from xai_core.cli.actions.layers import print_layers

        print_layers(model)
    elif source is None:
        print_tables([each for each in Kind if each is not Kind.layers] if kind is None else [kind])
    elif kind in (None, Kind.models):
        print_models(source)
    else:
        raise typer.BadParameter(
            f"expected `xai list models --source NAME`, got `xai list {kind}`", param_hint="--source"
        )
