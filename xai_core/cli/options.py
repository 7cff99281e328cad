"""Options that several commands share."""

from typing import Annotated

import typer

Several = list[str] | None
Model = Annotated[str, typer.Option(metavar="SPEC", help="Model to explain (see `xai list models`).")]
Device = Annotated[
    str | None,
    typer.Option(metavar="DEVICE", help="PyTorch device, such as cpu or cuda:1.  [default: a GPU if available]"),
]
