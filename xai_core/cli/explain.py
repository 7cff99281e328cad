"""Options of `xai explain`."""

from pathlib import Path
from typing import Annotated

import typer

from xai_core.cli.options import DeviceOption, Several


def explain(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE", help="Image files, or folders that are searched recursively.")
    ],
    model: Annotated[
        str, typer.Option(metavar="SPEC", help="Model to explain (see `xai list models`).")
    ] = "efficientnet-lite0",
    method: Annotated[
        str,
        typer.Option(
            metavar="SPEC[,SPEC...]",
            help="Methods, separated by commas (see `xai list methods`), or all for every compatible method.",
        ),
    ] = "grad-cam,layer-cam,occlusion",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Output folder.  [default: xai-explain, or xai-explain-2, ... if xai-explain has other settings]",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        Several,
        typer.Option(
            metavar="CLASS",
            help="Class to explain, by id or name. Repeatable.  [default: predicted or largest class]",
        ),
    ] = None,
    contrast: Annotated[
        Several,
        typer.Option(
            metavar="CLASS,CLASS", help="Explain the difference between the scores of two classes. Repeatable."
        ),
    ] = None,
    box: Annotated[
        Several,
        typer.Option(
            metavar="X1,Y1,X2,Y2[,CLASS]",
            help="Explain what a detector finds in a box: left, top, right and bottom in pixels of the upright photo, "
            "optionally with a class. Repeatable.  [default: best detection]",
        ),
    ] = None,
    text: Annotated[
        Several,
        typer.Option(
            metavar="TEXT",
            help="Explain why an image matches a text, for a model that compares images with texts. Repeatable.",
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Explain the N classes or detections with the highest scores, or the N classes with the most pixels.",
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="LAYER", help="Layer name, for methods with a `layer` option.  [default: chosen by the method]"
        ),
    ] = None,
    crop: Annotated[
        bool, typer.Option("--crop", help="Draw maps only on the part of the image that the model receives.")
    ] = False,
    page: Annotated[bool, typer.Option("--page", help="Write an HTML page of all images and maps.")] = False,
    device: DeviceOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Overwrite existing files.")] = False,
) -> None:
    """Compute saliency maps of images and save overlays.

    For each image, method and target, the command writes an overlay (.png) and the map (.npy) to the output folder. The
    map is a NumPy array [H,W] of float32 in [0,1], at the input size of the model. The overlay has the size of the
    image, and its colors saturate at the 99th percentile of the map. Some methods also compute partial maps, such as
    one map per attention head. A .parts.png file shows them side by side.

    For each image, .sheet.png shows all overlays with captions, and .json contains the predictions and the names of the
    files. maps.csv lists all maps. With --page, index.html shows all images with their maps. To resume an interrupted
    run, repeat the same command. To add images or methods, run the command again with their names.
    """
    from xai_core.cli.actions.explain import explain_images

    explain_images(
        images,
        model,
        method,
        out,
        classes=target or (),
        contrasts=contrast or (),
        boxes=box or (),
        texts=text or (),
        top=top,
        layer=layer,
        device=device,
        crop=crop,
        page=page,
        overwrite=overwrite,
    )
