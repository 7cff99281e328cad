"""Options of `xai plugin check`."""

from typing import Annotated

import typer

from xai_core.cli.options import Several


def check(
    package: Annotated[
        str, typer.Argument(metavar="PACKAGE", help="Installed package, or importable module with plugin hooks.")
    ],
    model: Annotated[
        Several,
        typer.Option(metavar="SPEC", help="Model for the checks. Repeatable.  [default: small built-in models]"),
    ] = None,
    data: Annotated[
        Several,
        typer.Option(metavar="SPEC", help="Dataset of PACKAGE to check, such as SOURCE:FOLDER. Repeatable."),
    ] = None,
    only: Annotated[
        Several,
        typer.Option(metavar="SPEC", help="Component to check, by name or spec. Repeatable.  [default: all]"),
    ] = None,
    all: Annotated[bool, typer.Option("--all", help="List passed checks too.")] = False,
) -> None:
    """Run the conformance tests on a plugin.

    The exit code is 0 if at least one check ran, and every check passed or is a declared expected failure. Otherwise,
    the exit code is 1.
    """
    from xai_core.cli.actions.plugin_check import check_plugin

    check_plugin(package, model or (), data or (), only or (), all)
