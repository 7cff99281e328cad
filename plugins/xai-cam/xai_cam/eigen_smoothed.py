"""The first principal component of a CAM's channels."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import CAM
from xai_cam.contrastive import base_cam
from xai_cam.principal import principal_component


class EigenSmoothed(CAM):
    """The first principal component of a CAM's weighted channels in the place of their sum.

    pytorch-grad-cam calls it `eigen_smooth`. The sign, which a component leaves open, is that in which it
    varies as the sum does.

    Parameters
    ----------
    explainer
        Name, spec or object of a CAM.
    """

    name = "eigen-smoothed"

    def __init__(self, explainer: str | xai.Explainer = "grad-cam") -> None:
        super().__init__()
        self.explainer = explainer
        self._base = base_cam(explainer)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """What the CAM needs."""
        return self._base.needs(adapter)

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Those of the CAM."""
        return self._base.forward_passes(adapter)

    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K h w"]:
        """The CAM's own channels."""
        return self._base.channels(captured, layer)

    def map(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B h w"]:
        """Project the channels on their first principal component, and keep what is positive."""
        return principal_component(self.channels(captured, layer)).relu()
