"""Every architecture of segmentation-models-pytorch, and a U-Net or FPN on the smallest encoder of each family."""

from collections.abc import Iterator
from functools import partial

import segmentation_models_pytorch as smp
from segmentation_models_pytorch.encoders import encoders

from support.coverage.case import Built, Case

SIDE, DPT_SIDE = 128, 224
ENCODERS = {"segformer": "mit_b0", "dpt": "tu-vit_tiny_patch16_224"}


def cases() -> Iterator[Case]:
    """Yield a case for each architecture, and a U-Net for the first encoder of each module."""
    for architecture in smp.MODEL_ARCHITECTURES_MAPPING:
        yield case(architecture, f"{architecture} on {ENCODERS.get(architecture, 'resnet18')}")
    first: dict[str, str] = {}
    for encoder, details in encoders.items():
        first.setdefault(details["encoder"].__module__.rpartition(".")[2], encoder)
    for family, encoder in first.items():
        yield case(f"encoders.{family}", f"unet on {encoder}")


def case(family: str, name: str) -> Case:
    """Return the case of an architecture and an encoder."""
    return Case("segmentation-models-pytorch", family, name, partial(build, *name.split(" on ")))


def build(architecture: str, encoder: str) -> Built:
    model = smp.create_model(architecture, encoder, encoder_weights=None, classes=5)
    side = DPT_SIDE if architecture == "dpt" else SIDE
    return Built(model, (side, side))
