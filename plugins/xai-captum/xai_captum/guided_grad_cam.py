"""Guided Grad-CAM."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import ImageBlock
from xai_captum.modified_relu import ModifiedReLU
from xai_core.plugin import Layer, SharedModel, UnsuitableError, check_choice

MODES = ("nearest", "bilinear", "bicubic", "area")


class GuidedGradCAM(ModifiedReLU):
    """Guided Grad-CAM: guided backpropagation multiplied by Grad-CAM.

    Source: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV
    2017, section 3.2.

    Parameters
    ----------
    layer
        Module name or module for Grad-CAM. Default: the last features before pooling, which the adapter finds.
    interpolate_mode
        How Grad-CAM is resized to the image: `bilinear` (as in the paper), `nearest` (captum's default), `bicubic` or
        `area`. For volumes, `bilinear` is trilinear, and `bicubic` is not defined.
    channels
        How the channels are reduced: `sum`, `positive`, `abs`, `max` or `norm`. See
        `xai_core.plugin.reduce_channels`.
    """

    name = "guided-grad-cam"

    def __init__(self, layer: Layer | None = None, interpolate_mode: str = "bilinear", channels: str = "abs") -> None:
        super().__init__(channels)
        self.layer = layer
        self.interpolate_mode = check_choice("interpolate_mode", interpolate_mode, MODES)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Require a ReLU module, and a layer whose output is a feature map. Request nothing."""
        super().needs(adapter)
        name = self.layer_name(adapter)
        if adapter.features(name).layout not in ("NCHW", "NCDHW"):
            raise UnsuitableError(
                f"guided-grad-cam requires a layer whose output is a feature map with channels first, and "
                f"the output of {name!r} has another layout; use grad-cam"
            )
        return xai.Needs()

    def layer_name(self, adapter: xai.ModelAdapter) -> str:
        """Return the name of the layer."""
        return adapter.default_layer if self.layer is None else adapter.layer_name(self.layer)

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count one for each of the two methods, and one for the shared pass."""
        return 3

    def attribute(self, model: SharedModel, block: ImageBlock, adapter: xai.ModelAdapter) -> Float[Tensor, "N C *size"]:
        """Multiply both methods, as captum's `GuidedGradCam` does."""
        from captum import attr

        cam = attr.LayerGradCam(model, model.layer(self.layer_name(adapter))).attribute(
            block.images, additional_forward_args=(block.indices,), relu_attributions=True
        )
        size = tuple(block.images.shape[2:])
        mode = "trilinear" if len(size) == 3 and self.interpolate_mode == "bilinear" else self.interpolate_mode
        resized = attr.LayerAttribution.interpolate(cam, size, interpolate_mode=mode)
        return self.modified_gradient(attr.GuidedBackprop(model), block) * resized
