"""Options of `xai plugin check`."""

from typing import Annotated

import typer

from xai_core.cli.options import Several


def check(
    package: Annotated[
        str, typer.Argument(metavar="PACKAGE", help="Installed package, or importable module with hooks.")
    ],
    model: Annotated[
        Several,
        typer.Option(metavar="SPEC", help="Model for the checks. May be repeated.  [default: small built-in models]"),
    ] = None,
    data: Annotated[
        Several, typer.Option(metavar="SPEC", help="Dataset to open from a source of PACKAGE. May be repeated.")
    ] = None,
    only: Annotated[
        Several,
        typer.Option(metavar="SPEC", help="Component of PACKAGE to check. May be repeated.  [default: all]"),
    ] = None,
    all: Annotated[bool, typer.Option("--all", help="List passed checks too.")] = False,
) -> None:
    """Run the conformance checks on a plugin.

    Exit code 0 if at least one check ran, and every check passed or is a declared expected failure. Otherwise exit
    code 1.
    """
    from xai_core.cli.actions.plugin_check import check_plugin

    check_plugin(package, model or (), data or (), only or (), all)
