"""Every classification and segmentation model of torchvision, for the smallest images that it accepts."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torchvision
from torch import nn

from support.coverage.case import Built, Case, smallest

SIDES = (128, 140, 224, 299)
CLASSIFICATION = {name: {"init_weights": True} for name in ("googlenet", "inception_v3")}  # otherwise they warn
SEGMENTATION = {"weights_backbone": None}


def cases() -> Iterator[Case]:
    """Yield a case for every classification and segmentation model."""
    for module in (torchvision.models, torchvision.models.segmentation):
        for name in torchvision.models.list_models(module=module):
            builder = torchvision.models.get_model_builder(name)
            yield case(builder.__module__.removeprefix("torchvision.models."), name)


def case(family: str, name: str) -> Case:
    """Return the case of a model. The family is the module that defines it, such as `segmentation.fcn`."""
    options = SEGMENTATION if family.startswith("segmentation.") else CLASSIFICATION.get(name, {})
    return Case(
        "torchvision", family, name, partial(build, name, options, SIDES), partial(build, name, options, SIDES[2:])
    )


def build(name: str, options: dict[str, Any], sides: Sequence[int]) -> Built:
    def make(**sized: Any) -> nn.Module:
        return torchvision.models.get_model(name, weights=None, **options, **sized)

    return smallest(make, sides, lambda side: [{"image_size": side}, {"input_size": (side, side)}, {}])
