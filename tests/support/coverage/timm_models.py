"""The smallest architecture of every family (module) of timm, for the smallest images that it accepts."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from support.coverage.case import Built, Case, smallest

SIDES = (96, 112, 128, 140, 160, 192, 224, 256, 288, 320, 384)
CLASSES = 10
FOUND = Path(tempfile.gettempdir()) / f"smallest-of-timm-{timm.__version__}.json"
"""The smallest architecture of each family. Their search takes minutes."""


def cases() -> Iterator[Case]:
    """Yield a case for the architecture with the fewest parameters of each family."""
    smallest_of = json.loads(FOUND.read_text()) if FOUND.exists() else {}
    for family in timm.list_modules():
        if family not in smallest_of:
            names = [name for name in timm.list_models(module=family) if not name.startswith("test_")]
            smallest_of[family] = min(names, key=parameters, default=None)
            FOUND.write_text(json.dumps(smallest_of))
        if smallest_of[family] is not None:
            yield case(family, smallest_of[family])


def case(family: str, name: str) -> Case:
    """Return the case of an architecture."""
    return Case("timm", family, name, partial(build, name, SIDES), partial(build, name))


def parameters(name: str) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in timm.create_model(name).parameters())


def build(name: str, smaller: Sequence[int] = ()) -> Built:
    """Build an architecture for the smallest of some sides that it accepts, or else for its own."""

    def make(**sized: Any) -> nn.Module:
        return timm.create_model(name, pretrained=False, num_classes=CLASSES, **sized)

    own = max(timm.get_pretrained_cfg(name).input_size[1:])
    sides = sorted({*(side for side in smaller if side < own), own})
    return smallest(make, sides, lambda side: [{"img_size": side}, {}])
