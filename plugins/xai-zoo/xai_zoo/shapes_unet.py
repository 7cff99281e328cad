"""A small segmentation model with weights that were trained on `shapes`."""

from dataclasses import replace
from pathlib import Path

from torch import nn

import xai_core as xai
from xai_core.plugin import Value
from xai_zoo import outlines
from xai_zoo.shapes_models import TRAINED_ON, ShapesModel

BACKGROUND = "background"
"""Name of the last class of a segmentation model for shapes."""


class ShapesUNet(ShapesModel):
    """A small U-Net for `shapes`, with its weights: `shapes-unet`.

    The output is one score for each pixel, the ten shapes and the background: [B,11,64,64]. The background is the last
    class, so that ids of classes are equal to labels of images. Use the target `xai.Region`.

    Option: `weights`, as for `shapes-vit`.
    """

    name = "shapes-unet"

    def load(  # type: ignore[override] # the registry rejects other options
        self, name: str | None, weights: Value | Path = "shipped"
    ) -> xai.LoadedModel:
        loaded = self._loaded(name, self.network(), {}, TRAINED_ON[0], weights)
        return replace(loaded, class_names=(*outlines.CLASSES, BACKGROUND))

    def network(self) -> nn.Module:
        from xai_zoo.small_unet import SmallUNet

        return SmallUNet(width=24, num_classes=len(outlines.CLASSES) + 1)
