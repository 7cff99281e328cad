"""Test-time augmentation of any explainer."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import UnsuitableError, check_flag, check_number, relevance


class Smoothed(xai.Explainer):
    """The mean of an explainer's relevance over horizontal flips and changes of brightness.

    The maps of flipped images are flipped back. All variants are explained for the target of the original image.
    pytorch-grad-cam's `aug_smooth` normalizes each map before averaging. Here the maps are averaged in their own units.

    Parameters
    ----------
    explainer
        Name, spec or object of an explainer.
    flip
        Whether to include the horizontally flipped images. This is not possible for a `Box` or a `Region`, which would
        be at another location of the flipped image.
    brightness
        In [0, 1). The normalized image is also multiplied by 1 - brightness and 1 + brightness, unless it is 0.
    """

    name = "smoothed"

    def __init__(self, explainer: str | xai.Explainer = "grad-cam", flip: bool = True, brightness: float = 0.1) -> None:
        self.explainer = explainer
        self.flip = check_flag("flip", flip)
        self.brightness = check_number("brightness", brightness, minimum=0, below=1)
        self._explainer = xai.create_explainer(explainer) if isinstance(explainer, str) else explainer
        self.volumes = self._explainer.volumes

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request what the explainer needs."""
        return xai.Needs(parts=(self._explainer.needs(adapter),))

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count the forward passes of the explainer for each variant."""
        return (3 if self.brightness else 1) * (2 if self.flip else 1) * self._explainer.forward_passes(adapter)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B *grid"]:
        """Explain the image in the shared pass, and each variant in a separate pass."""
        if self.flip and captured.target.is_located:
            raise UnsuitableError(
                "smoothed flips the images, but the target is a box or a region, which is at another location of a "
                "flipped image; use `smoothed(...):flip=false`"
            )
        factors = (1.0, 1 - self.brightness, 1 + self.brightness) if self.brightness else (1.0,)
        maps = [relevance(self._explainer.explain(captured.parts[0]))]
        for factor in factors:
            if factor != 1:
                maps.append(captured.explain_images(captured.images * factor, self._explainer))
            if self.flip:
                maps.append(captured.explain_images(captured.images.flip(-1) * factor, self._explainer).flip(-1))
        return sum(maps[1:], maps[0]) / len(maps)
