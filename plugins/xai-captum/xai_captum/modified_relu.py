"""Base class of methods that modify the gradient of ReLU."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

import xai_core as xai
from xai_captum.attribution import GradientAttribution, ImageBlock
from xai_captum.executed_modules import executed_modules
from xai_captum.global_state import without_warnings
from xai_core.plugin import UnsuitableError, require_plain_modules


class ModifiedReLU(GradientAttribution):
    """The gradient at the image, with a modified gradient of ReLU.

    Parameters
    ----------
    channels
        How the channels are reduced: `sum`, `positive`, `abs`, `max` or `norm`. See
        `xai_core.plugin.reduce_channels`.
    """

    def __init__(self, channels: str = "abs") -> None:
        super().__init__(channels)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Require a model with a ReLU module. Request nothing."""
        require_plain_modules(adapter.model, self.name, "saliency or smooth-grad")
        if not any(isinstance(module, nn.ReLU) for module in executed_modules(adapter).values()):
            raise UnsuitableError(
                f"{self.name} modifies the gradient of ReLU modules (nn.ReLU), and this model has none, so the "
                "result would be the plain gradient; use saliency or smooth-grad"
            )
        return xai.Needs()

    def modified_gradient(self, method: Any, block: ImageBlock) -> Float[Tensor, "N C *size"]:
        """Return the gradient at the images that a method of captum computes."""
        from captum.attr._core.guided_backprop_deconvnet import ModifiedReluGradientAttribution

        attribute = without_warnings(ModifiedReluGradientAttribution.attribute)
        return attribute(method, block.images, additional_forward_args=(block.indices,))

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count one for captum's pass, and one for the shared pass."""
        return 2
