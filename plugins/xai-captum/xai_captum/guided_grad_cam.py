"""Guided Grad-CAM."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import Part
from xai_captum.relu import ChangedReLU
from xai_core.plugin import Layer, OptionError, SharedModel, UnsuitableError

MODES = ("nearest", "bilinear", "bicubic", "area")


class GuidedGradCAM(ChangedReLU):
    """Guided Grad-CAM: guided backpropagation, times Grad-CAM.

    Source: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV
    2017, section 3.2.

    Parameters
    ----------
    layer
        Module name or module, for Grad-CAM; default: the last spatial features, which the adapter finds.
    interpolate_mode
        How Grad-CAM is resized to the image: `bilinear`, as in the paper, `nearest`, as captum does if not told,
        `bicubic` or `area`.
    channels
        How channels are reduced: see `xai_captum.channels.over_channels`.
    """

    name = "guided-grad-cam"

    def __init__(self, layer: Layer | None = None, interpolate_mode: str = "bilinear", channels: str = "abs") -> None:
        super().__init__(channels)
        if interpolate_mode not in MODES:
            raise OptionError(f"interpolate_mode must be one of {', '.join(MODES)}, not {interpolate_mode!r}")
        self.layer = layer
        self.interpolate_mode = interpolate_mode

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Nothing of the pass, as long as there is ReLU and the layer gives a feature map."""
        super().needs(adapter)
        if adapter.features(self.chosen(adapter)).layout != "NCHW":
            raise UnsuitableError(
                "guided-grad-cam is for layers that give feature maps, channels first, and "
                f"{self.chosen(adapter)!r} does not; use grad-cam"
            )
        return xai.Needs()

    def chosen(self, adapter: xai.ModelAdapter) -> str:
        """The name of the layer."""
        return adapter.default_layer if self.layer is None else adapter.layer_name(self.layer)

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """One for each of the two, and the pass."""
        return 3

    def attribute(self, model: SharedModel, part: Part, adapter: xai.ModelAdapter) -> Float[Tensor, "N C H W"]:
        """Multiply the two, as captum's `GuidedGradCam` does."""
        from captum import attr

        cam = attr.LayerGradCam(model, model.layer(self.chosen(adapter))).attribute(
            part.images, additional_forward_args=(part.of,), relu_attributions=True
        )
        size = (part.images.shape[-2], part.images.shape[-1])
        resized = attr.LayerAttribution.interpolate(cam, size, interpolate_mode=self.interpolate_mode)
        return self.changed(attr.GuidedBackprop(model), part) * resized
