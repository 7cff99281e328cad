"""Finer-CAM."""

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import Layers
from xai_cam.contrastive_cam import ContrastiveCAM, Negatives
from xai_core.plugin import OptionError, check_number


class FinerCAM(ContrastiveCAM):
    """Finer-CAM: the evidence for the target class that is not evidence for similar classes, in a base CAM.

        L = ReLU(sum_k (alpha_k^c - gamma / m sum_d alpha_k^d) A_k)

    The classes d are the m highest-scoring other classes. With Grad-CAM as its base, this is the map of the logit
    difference y^c - gamma y^d, averaged over d. pytorch-grad-cam weights the classes by their probabilities and
    differentiates through these weights.

    Source: Zhang et al., "Finer-CAM: Spotting the Difference Reveals Finer Details for Visual Explanation", CVPR 2025.

    Parameters
    ----------
    layer
        Layer of the base, if the base is given by name.
    base
        Name, spec or object of a CAM.
    gamma
        Strength of the comparison. With 0, the map is the base's map.
    negatives
        Number of highest-scoring other classes (fewer if the model has fewer), or their ids (`3+7`, or `3+` for a
        single id).
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
            raise OptionError(f"negatives must be at least 1, or class ids such as 3+7, got {negatives!r}")
        self.gamma = check_number("gamma", gamma)

    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K *grid"]:
        """Weight each channel by the difference between its weights for the target and for the negatives."""
        own = self._base.channels(captured, layer)
        if not captured.rivals:
            return own
        others = torch.stack([self._base.channels(rival, layer) for rival in captured.rivals])
        return own - self.gamma * others.mean(0)
