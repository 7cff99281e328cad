"""Test-time augmentation."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import OptionError, relevance


class Smoothed(xai.Explainer):
    """The mean of an explainer's relevance over flips and brightness, each flipped back.

    The target stays what it is for the image as given. pytorch-grad-cam's `aug_smooth` normalizes each map before it
    takes the mean; here each counts by its own size.

    Parameters
    ----------
    explainer
        Name, spec or object.
    flip
        Also flip left and right.
    brightness
        Also multiply the normalized image by 1 - brightness and 1 + brightness; 0 does not.
    """

    name = "smoothed"

    def __init__(self, explainer: str | xai.Explainer = "grad-cam", flip: bool = True, brightness: float = 0.1) -> None:
        if not 0 <= brightness < 1:
            raise OptionError(f"brightness must be from 0 to less than 1, got {brightness}")
        self.explainer = explainer
        self.flip = flip
        self.brightness = brightness
        self._explainer = xai.create_explainer(explainer) if isinstance(explainer, str) else explainer

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """What the explainer needs."""
        return xai.Needs(parts=(self._explainer.needs(adapter),))

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Those of the explainer, for each variant."""
        return (3 if self.brightness else 1) * (2 if self.flip else 1) * self._explainer.forward_passes(adapter)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B h w"]:
        """Explain the image as given from this pass, and each of its variants from one of its own."""
        factors = (1.0, 1 - self.brightness, 1 + self.brightness) if self.brightness else (1.0,)
        maps = [relevance(self._explainer.explain(captured.parts[0]))]
        for factor in factors:
            if factor != 1:
                maps.append(captured.explain_images(captured.images * factor, self._explainer))
            if self.flip:
                maps.append(captured.explain_images(captured.images.flip(3) * factor, self._explainer).flip(2))
        return sum(maps[1:], maps[0]) / len(maps)
