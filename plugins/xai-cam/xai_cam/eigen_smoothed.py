"""Principal component of the channels of a CAM."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import CAM
from xai_cam.contrastive_cam import base_cam
from xai_cam.principal_component import principal_component


class EigenSmoothed(CAM):
    """The rectified first principal component of the weighted channels of a CAM, instead of their sum.

    pytorch-grad-cam calls this `eigen_smooth`. The decomposition does not determine the sign. Here the component has a
    positive covariance with the sum of the channels.

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
        """Request what the CAM needs."""
        return self._base.needs(adapter)

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Return the number of forward passes of the CAM."""
        return self._base.forward_passes(adapter)

    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K *grid"]:
        """Return the weighted channels of the CAM."""
        return self._base.channels(captured, layer)

    def map(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B *grid"]:
        """Project the channels on their first principal direction and rectify the result."""
        return principal_component(self.channels(captured, layer)).relu()
