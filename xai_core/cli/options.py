"""Options that more than one command takes."""

from typing import Annotated

import typer

Model = Annotated[str, typer.Option(metavar="SPEC", help="See `xai list models`.")]
Device = Annotated[
    str | None, typer.Option(metavar="DEVICE", help="Such as cpu or cuda.  [default: a GPU, if there is one]")
]
