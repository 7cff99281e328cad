"""Types of options that several modules of the command line share."""

from enum import StrEnum
from typing import Annotated

import typer

Several = list[str] | None
Model = Annotated[str, typer.Option(metavar="SPEC", help="Model to explain (see `xai list models`).")]
DeviceOption = Annotated[
    str | None,
    typer.Option(metavar="DEVICE", help="PyTorch device, such as cpu or cuda:1.  [default: a GPU if available]"),
]


class Format(StrEnum):
    """Output format of the tables."""

    table = "table"
    markdown = "markdown"
    latex = "latex"
    csv = "csv"
    json = "json"


class Kind(StrEnum):
    """Kind of name that `xai list` lists."""

    methods = "methods"
    metrics = "metrics"
    models = "models"
    datasets = "datasets"
    plugins = "plugins"
    layers = "layers"
