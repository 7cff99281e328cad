"""U-Net, which returns scores for every pixel."""

from pathlib import Path

import xai_core as xai
from xai_core.plugin import MissingDependencyError, ModelSource, OptionError, Value, check_integer, suggest
from xai_zoo.imagenet import MEAN, STD
from xai_zoo.reference import check_no_name, loaded

_STRIDE = 32
_TIMM = "tu-"
"""The prefix of encoders from timm."""


class UNet(ModelSource):
    """U-Net of segmentation-models-pytorch: `unet:encoder=resnet34,num_classes=21,weights=FILE`.

    The output is [B,classes,H,W].

    Use the target `xai.Region`. This source requires `pip install segmentation-models-pytorch`.

    Options with their defaults: `encoder` (resnet18), `attention` of the decoder (`none`, also `scse`), `num_classes`
    (2), image `size` (256), and `weights` (random).
    """

    name = "unet"

    def load(  # type: ignore[override] # the registry rejects other options
        self,
        name: str | None,
        encoder: str = "resnet18",
        attention: str | None = None,
        num_classes: int = 2,
        size: int = 256,
        weights: Value | Path = None,
    ) -> xai.LoadedModel:
        check_no_name(self.name, name)
        check_integer("num_classes", num_classes, 1)
        check_integer("size", size, 1)
        if size % _STRIDE:
            raise OptionError(f"size must be a multiple of the encoder's stride ({_STRIDE}); got {size}")
        if attention not in (None, "scse"):
            raise OptionError(f"attention must be none or scse, got {attention!r}")
        try:
            import segmentation_models_pytorch as smp
        except ImportError as error:
            raise MissingDependencyError(
                "unet needs the package segmentation-models-pytorch: `pip install segmentation-models-pytorch`"
            ) from error
        known = smp.encoders.get_encoder_names()  # type: ignore[no-untyped-call]
        if not isinstance(encoder, str) or (encoder not in known and not encoder.startswith(_TIMM)):
            raise OptionError(
                f"encoder must be an encoder of segmentation-models-pytorch, got {encoder!r};"
                f" {suggest(str(encoder), known)}"
            )
        try:
            model = smp.Unet(encoder, encoder_weights=None, classes=num_classes, decoder_attention_type=attention)
        except Exception as error:  # encoders raise errors of several classes
            raise OptionError(
                f"unet cannot be built with the encoder {encoder!r} ({type(error).__name__}: {error}); choose another"
            ) from error
        options = {"encoder": encoder, "attention": attention, "num_classes": num_classes, "size": size}
        return loaded(model, (self.name, options), weights, size, MEAN, STD)
