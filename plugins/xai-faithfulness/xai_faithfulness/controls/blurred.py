"""Blurred maps."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import check_number
from xai_faithfulness.controls.changed_map import ChangedMap


class Blurred(ChangedMap):
    """Blurred: another method's map after a Gaussian blur, which enlarges the map without using the model.

    It is a control for metrics that depend on the size or the smoothness of maps. The map is blurred on its own grid.
    Beyond the border, it continues with its border values. This method is not from a paper.

    Parameters
    ----------
    explainer
        Name, spec or object of an explainer.
    sigma
        Standard deviation of the blur as a fraction of each side of the map, > 0.
    """

    name = "blurred"

    def __init__(self, explainer: str | xai.Explainer = "grad-cam", sigma: float = 0.1) -> None:
        super().__init__(explainer)
        self.sigma = check_number("sigma", sigma, above=0)

    def change(self, maps: Float[Tensor, "B *grid"]) -> Float[Tensor, "B *grid"]:
        """Blur along each axis."""
        for axis in range(1, maps.ndim):
            maps = self._along_last(maps.movedim(axis, -1)).movedim(-1, axis)
        return maps

    def _along_last(self, maps: Float[Tensor, "*rows side"]) -> Float[Tensor, "*rows side"]:
        sigma = self.sigma * maps.shape[-1]
        radius = math.ceil(3 * sigma)
        offsets = torch.arange(-radius, radius + 1, device=maps.device, dtype=maps.dtype)
        kernel = (-(offsets**2) / (2 * sigma**2)).exp()
        padded = F.pad(maps.reshape(-1, 1, maps.shape[-1]), (radius, radius), mode="replicate")
        return F.conv1d(padded, (kernel / kernel.sum())[None, None]).view(maps.shape)
