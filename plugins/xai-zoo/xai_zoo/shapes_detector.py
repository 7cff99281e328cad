"""A small detector with weights that were trained on `shapes`."""

from pathlib import Path

from torch import nn

import xai_core as xai
from xai_core.plugin import OptionError, Value, check_integer
from xai_zoo import outlines
from xai_zoo.shapes_models import SIZE, TRAINED_ON, ShapesModel

STRIDE = 8
"""Pixels per cell of the detector. The size of images is a multiple of it."""


class ShapesDetector(ShapesModel):
    """A one-stage object detector for `shapes`, with its weights: `shapes-detector`, `shapes-detector:size=128`.

    The output has the format of a YOLO head with one box per cell of 8x8 pixels: [B,4+10,cells].

    Options: `size` of the image in pixels (64), a multiple of 8. The weights were trained on images of 64x64 pixels
    with one object each. A larger image can contain several objects. `weights`, as for `shapes-vit`.
    """

    name = "shapes-detector"

    def load(  # type: ignore[override] # the registry rejects other options
        self, name: str | None, size: int = SIZE, weights: Value | Path = "shipped"
    ) -> xai.LoadedModel:
        check_integer("size", size, 32)
        if size % STRIDE:
            raise OptionError(f"size must be a multiple of {STRIDE}, got {size}")
        return self._loaded(name, self.network(), {}, TRAINED_ON[0], weights, size)

    def network(self) -> nn.Module:
        from xai_zoo.one_stage_detector import OneStageDetector

        return OneStageDetector(width=96, num_classes=len(outlines.CLASSES))
