"""ResNets of torchvision with an attention module after selected stages."""

from collections.abc import Callable
from pathlib import Path

from torch import nn

import xai_core as xai
from xai_core.plugin import ModelSource, OptionError, Value, check_choice, check_integer
from xai_zoo.bam import BAM
from xai_zoo.cbam import CBAM
from xai_zoo.imagenet import MEAN, STD
from xai_zoo.reference import check_no_name, loaded

_DEPTHS = (18, 34, 50)


class ResNetCBAM(ModelSource):
    """A ResNet with CBAM after its stages: `resnet-cbam`, `resnet-cbam:depth=50,stages=3+4,num_classes=10`.

    Options with their defaults: `depth` (18, also 34 or 50), `stages` (1+2+3+4), `reduction` (16), `kernel` (7),
    `num_classes` (1000), image `size` (224), and `weights` (random).
    """

    name = "resnet-cbam"

    def load(  # type: ignore[override] # the registry rejects other options
        self,
        name: str | None,
        depth: int = 18,
        stages: str | int = "1+2+3+4",
        reduction: int = 16,
        kernel: int = 7,
        num_classes: int = 1000,
        size: int = 224,
        weights: Value | Path = None,
    ) -> xai.LoadedModel:
        check_no_name(self.name, name)
        check_integer("reduction", reduction, 1)
        check_integer("kernel", kernel, 1)
        check_integer("num_classes", num_classes, 1)
        check_integer("size", size, 1)
        if kernel % 2 == 0:
            raise OptionError(f"{self.name}: expected an odd kernel, which preserves the size, got {kernel}")
        model = _build(self.name, depth, stages, num_classes, lambda channels: CBAM(channels, reduction, kernel))
        options = {
            "depth": depth,
            "stages": stages,
            "reduction": reduction,
            "kernel": kernel,
            "num_classes": num_classes,
        }
        return loaded(model, (self.name, {**options, "size": size}), weights, size, MEAN, STD)


class ResNetBAM(ModelSource):
    """A ResNet with BAM after its stages: `resnet-bam`, `resnet-bam:depth=34,dilation=2`.

    Options with their defaults: `depth` (18, also 34 or 50), `stages` (1+2+3), `reduction` (16), `dilation` (4),
    `num_classes` (1000), image `size` (224), and `weights` (random).
    """

    name = "resnet-bam"

    def load(  # type: ignore[override] # the registry rejects other options
        self,
        name: str | None,
        depth: int = 18,
        stages: str | int = "1+2+3",
        reduction: int = 16,
        dilation: int = 4,
        num_classes: int = 1000,
        size: int = 224,
        weights: Value | Path = None,
    ) -> xai.LoadedModel:
        check_no_name(self.name, name)
        check_integer("reduction", reduction, 1)
        check_integer("dilation", dilation, 1)
        check_integer("num_classes", num_classes, 1)
        check_integer("size", size, 1)
        model = _build(self.name, depth, stages, num_classes, lambda channels: BAM(channels, reduction, dilation))
        options = {"depth": depth, "stages": stages, "reduction": reduction, "dilation": dilation}
        options |= {"num_classes": num_classes, "size": size}
        return loaded(model, (self.name, options), weights, size, MEAN, STD)


def _build(
    source: str, depth: int, stages: str | int, num_classes: int, attention: Callable[[int], nn.Module]
) -> nn.Module:
    from torchvision import models

    check_choice("depth", depth, _DEPTHS)
    chosen = str(stages).split("+")
    if not set(chosen) <= set("1234") or len(set(chosen)) < len(chosen):
        raise OptionError(f"{source}: expected stages from 1 to 4, joined by +, such as 1+2+3, got {stages!r}")
    model = models.get_model(f"resnet{depth}", weights=None, num_classes=num_classes)
    for stage in chosen:
        channels = 2 ** (int(stage) - 1) * (256 if depth == 50 else 64)
        setattr(model, f"layer{stage}", nn.Sequential(getattr(model, f"layer{stage}"), attention(channels)))
    return model
