"""Finer-CAM."""

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import Layers
from xai_cam.contrastive import Comparison, Negatives
from xai_core.plugin import OptionError


class FinerCAM(Comparison):
    """Finer-CAM: what a base CAM finds for the class and not for similar classes.

    L = ReLU(sum_k (alpha_k^c - gamma / m sum_d alpha_k^d) A_k), over the m highest-scoring other classes d. For
    Grad-CAM that is the map of the logit difference y^c - gamma y^d, averaged over d. pytorch-grad-cam weighs
    the classes by their probability, and lets the gradient flow through it.

    Source: Zhang et al., "Finer-CAM: Spotting the Difference Reveals Finer Details for Visual Explanation",
    CVPR 2025.

    Parameters
    ----------
    layer
        As for the base, where the base is given by name.
    base
        Name, spec or object of a CAM.
    gamma
        Strength of the comparison; 0 is the base.
    negatives
        How many other classes to compare with (fewer where the model has fewer), or their ids (`3+7`, or
        `3+` for one).
    """

    name = "finer-cam"

    def __init__(
        self,
        layer: Layers = None,
        base: str | xai.Explainer = "grad-cam",
        gamma: float = 1.0,
        negatives: Negatives = 3,
    ) -> None:
        super().__init__(layer, base, negatives)
        if not self._rivals:
            raise OptionError("finer-cam compares with other classes; negatives must be at least 1")
        self.gamma = gamma

    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K h w"]:
        """Weigh each channel by the difference of the weights."""
        own = self._base.channels(captured, layer)
        if not captured.rivals:
            return own
        others = torch.stack([self._base.channels(rival, layer) for rival in captured.rivals])
        return own - self.gamma * others.mean(0)
