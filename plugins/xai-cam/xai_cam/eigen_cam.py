"""Eigen-CAM."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import CAM
from xai_cam.principal_component import singular_component


class EigenCAM(CAM):
    """Eigen-CAM: the first principal component of the activations, which does not depend on the target.

    L = O V_1, with O = U S V^T the activations [hw,K], at feature-map resolution. The decomposition does not determine
    the sign, so the sign with a positive sum of the map is chosen. There is no ReLU: the map is nonnegative if all
    activations are nonnegative, and otherwise may contain both signs.

    pytorch-grad-cam 1.5.7 subtracts the mean of each channel first, in contrast to the paper. It keeps the sign of the
    decomposition, which may invert the map, and rectifies the result.

    Source: Muhammad and Yeasin, "Eigen-CAM: Class Activation Map using Principal Components", IJCNN 2020.
    """

    name = "eigen-cam"
    gradients: ClassVar[bool] = False
    targeted: ClassVar[bool] = False

    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K *grid"]:
        """Return the activations unchanged."""
        return captured.activation(layer)

    def map(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B *grid"]:
        """Project the activations on their first right singular vector."""
        channels = self.channels(captured, layer)
        return singular_component(channels, towards=torch.ones_like(channels[:, 0]))
