"""Options of `xai demo`."""

from pathlib import Path
from typing import Annotated

import typer

from xai_core.cli.options import DeviceOption


def demo(
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Output folder.  [default: xai-demo, or xai-demo-2, ... if xai-demo exists]"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="SPEC", help="Model to explain (see `xai list models`).  [default: efficientnet-lite0]"),
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="SPEC", help="Dataset (see `xai list datasets`).  [default: photos]")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Number of images: the first N of each dataset.")] = 2,
    device: DeviceOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write into DIR even if it contains files.")] = False,
) -> None:
    """Explain sample images with all fast methods.

    The command scores the maps by deletion and insertion, and by ground-truth metrics if the images have masks. It
    writes overlays, curves, a CSV table and index.html, which shows all maps. These files are updated after each image.
    Composite methods, and methods that need many forward passes, are skipped. Without --model and --data, the demo
    explains three models: efficientnet-lite0 on photos, and shapes-vit and shapes-cbam on shapes. If the weights of
    dinov2-small are installed, it also shows the attention of each head of this model.

    The demo explains the predicted class, or the best detection of a detector. For a segmentation model, it explains
    the largest region. For a model that compares images with texts, it explains the text of each image.
    """
    from xai_core.cli.actions.demo import run_demo

    run_demo(out, model, data, limit, device, overwrite)
