"""Explainers that perturb the image and observe the score."""

import xai_core as xai
from xai_perturbation.d_rise import DRISE
from xai_perturbation.extremal_perturbation import ExtremalPerturbation
from xai_perturbation.hsic import HSIC
from xai_perturbation.occlusion import Occlusion
from xai_perturbation.rise import RISE
from xai_perturbation.sobol import Sobol
from xai_perturbation.tis import TIS
from xai_perturbation.vit_cx import ViTCX

__all__ = ["DRISE", "HSIC", "RISE", "TIS", "ExtremalPerturbation", "Occlusion", "Sobol", "ViTCX"]


@xai.hookimpl
def xai_explainers() -> list[type[xai.Explainer]]:
    """Return the explainers of this plugin."""
    return [DRISE, ExtremalPerturbation, HSIC, RISE, TIS, Occlusion, Sobol, ViTCX]
