"""CAM."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import CAM, weighted
from xai_core.plugin import TargetError


class ClassActivationMap(CAM):
    """CAM: activations weighted by the weights of the linear head, L = sum_k w_k^c A_k (eq. 2), not rectified.

    It is defined for models whose head is one linear layer on the spatial mean of the last features. There it is exact:
    the mean of the map is the logit without its bias.

    Source: Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016.
    """

    name = "cam"
    gradients: ClassVar[bool] = False
    rectified: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request the activation that the classification head averages."""
        adapter.head_weights  # noqa: B018  raises an error for models with another kind of head
        return xai.Needs(activations=(adapter.default_layer,))

    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K *grid"]:
        """Weight each channel by its weight for the target class in the classification head."""
        if captured.target.ids is None:
            raise TargetError("cam explains classes only; for other targets use grad-cam")
        weights = captured.adapter.head_weights[captured.target.ids]  # [B,K]
        return weighted(weights, captured.activation(layer))
