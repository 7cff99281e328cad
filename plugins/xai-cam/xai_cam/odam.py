"""ODAM."""

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import CAM, Layers
from xai_core.plugin import UnsuitableError, check_number


class ODAM(CAM):
    """ODAM: the smoothed gradient of one detection times the activation, summed over channels.

        L_ij = ReLU(sum_k (G * dy/dA_k)_ij A_k,ij)

    G is a Gaussian kernel with the given standard deviation. At the border, its weights are normalized over the cells
    inside the map. The score of a detection often depends on few cells, and smoothing includes the neighbors of these
    cells. The target can be a coordinate of the box: `xai_core.Box(box, explain="left")`.

    Source: Zhao, Chan and Chan, "ODAM: Gradient-based Instance-Specific Visual Explanations for Object Detection",
    ICLR 2023. The authors' code does not smooth the gradient, as with `smoothing=0`.

    Parameters
    ----------
    layer
        See `CAM`.
    smoothing
        Standard deviation of the Gaussian in cells, not negative.
    """

    name = "odam"
    volumes = False

    def __init__(self, layer: Layers = None, smoothing: float = 2.0) -> None:
        super().__init__(layer)
        self.smoothing = check_number("smoothing", smoothing, minimum=0)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request activations and gradients of a detector."""
        if adapter.probe.detections is None:
            raise UnsuitableError("odam explains detectors; use hires-cam, which is the same without smoothing")
        return super().needs(adapter)

    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K h w"]:
        """Multiply the activation by the smoothed gradient elementwise."""
        return smoothed(captured.gradient(layer), self.smoothing) * captured.activation(layer)


def smoothed(maps: Float[Tensor, "B K h w"], deviation: float) -> Float[Tensor, "B K h w"]:
    """Return maps as weighted means of their cells. The weights are a Gaussian of the distance."""
    if deviation == 0:
        return maps
    rows, columns = (gaussian(side, deviation, maps) for side in maps.shape[2:])
    return rows @ maps @ columns.mT


def gaussian(side: int, deviation: float, like: Tensor) -> Float[Tensor, "side side"]:
    """Return the weight of each cell for each cell along a side. The weights of a cell sum to one."""
    cells = torch.arange(side, device=like.device, dtype=like.dtype)
    return (-0.5 * ((cells[:, None] - cells) / deviation).square()).softmax(1)
