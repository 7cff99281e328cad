"""Options of `xai explain`."""

from pathlib import Path
from typing import Annotated

import typer

from xai_core.cli.options import DeviceOption, Model


def explain(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE", help="Image files, or folders that are searched recursively.")
    ],
    model: Model,
    method: Annotated[
        str,
        typer.Option(metavar="SPEC[,SPEC...]", help="Methods, separated by commas (see `xai list methods`)."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Output folder.")],
    target: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Class to explain, by id or name.  [default: predicted class]")
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="LAYER", help="Layer name, for methods with a `layer` option.  [default: chosen by the method]"
        ),
    ] = None,
    device: DeviceOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Overwrite existing files.")] = False,
) -> None:
    """Compute saliency maps of images and save overlays.

    For each image and method, the command writes an overlay (.png) and the map (.npy) to DIR. The map is a NumPy array
    [H,W] of float32 in [0,1], at the input size of the model. The colors of the overlay saturate at the 99th percentile
    of the map. Some methods also compute partial maps, such as one map per attention head. A .parts.png file shows them
    side by side.
    """
    from xai_core.cli.actions.explain import explain_images

    explain_images(images, model, method, out, target, layer, device, overwrite)
