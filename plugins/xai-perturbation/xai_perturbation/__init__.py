"""Explainers that perturb the image and observe the score."""

import xai_core as xai
from xai_perturbation.d_rise import DRISE
from xai_perturbation.occlusion import Occlusion
from xai_perturbation.rise import RISE

__all__ = ["DRISE", "RISE", "Occlusion"]


@xai.hookimpl
def xai_explainers() -> list[type[xai.Explainer]]:
    """Return the explainers of this plugin."""
    return [DRISE, RISE, Occlusion]
