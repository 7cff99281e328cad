"""A frozen, pretrained ResNet with a new linear head."""

from pathlib import Path

from jaxtyping import Float
from torch import Tensor, nn

import xai_core as xai
from xai_core.plugin import ModelSource, Value, check_choice, check_integer
from xai_zoo.imagenet import MEAN, STD
from xai_zoo.reference import check_no_name, loaded
from xai_zoo.torchvision_models import TorchvisionModels

_DEPTHS = (18, 34, 50, 101, 152)


class FrozenResNet(nn.Module):
    """A frozen backbone in evaluation mode, and a linear head on its features: [B,3,H,W] -> [B,classes]."""

    def __init__(self, trunk: nn.Module, features: int, num_classes: int) -> None:
        super().__init__()
        self.trunk = trunk.requires_grad_(False)
        self.head = nn.Linear(features, num_classes)

    def train(self, mode: bool = True) -> "FrozenResNet":
        """Set the mode of the classification head. The batch norm statistics of the backbone are frozen too."""
        super().train(mode)
        self.trunk.eval()
        return self

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B classes"]:
        return self.head(self.trunk(images))


class FrozenResNetSource(ModelSource):
    """A pretrained ResNet with frozen parameters and a new head: `frozen-resnet:depth=50,num_classes=10`.

    Options and defaults: `depth` (18, also 34, 50, 101 or 152), `num_classes` (10), image `size` (224), `trunk` and
    `weights`. `trunk` selects the weights of the backbone, as `weights` of `torchvision`: a file, `none`, or a
    name (default: the best, downloaded once). `weights` is a file with the weights of backbone and head.
    """

    name = "frozen-resnet"
    test_spec = "frozen-resnet:trunk=none"

    def load(  # type: ignore[override] # the registry rejects other options
        self,
        name: str | None,
        depth: int = 18,
        num_classes: int = 10,
        size: int = 224,
        trunk: Value | Path = "DEFAULT",
        weights: Value | Path = None,
    ) -> xai.LoadedModel:
        check_no_name(self.name, name)
        check_integer("num_classes", num_classes, 1)
        check_integer("size", size, 1)
        check_choice("depth", depth, _DEPTHS)
        trunk = trunk if weights is None else None
        resnet = TorchvisionModels().load(f"resnet{depth}", weights=trunk).model
        features = resnet.get_submodule("fc").in_features
        assert isinstance(features, int)
        resnet.add_module("fc", nn.Identity())
        options: dict[str, Value] = {"depth": depth, "num_classes": num_classes, "size": size}
        if trunk != "DEFAULT" and weights is None:
            options["trunk"] = None if trunk is None else str(trunk)
        return loaded(FrozenResNet(resnet, features, num_classes), (self.name, options), weights, size, MEAN, STD)
