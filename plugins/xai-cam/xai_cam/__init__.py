"""Class activation maps for xai-core."""

import xai_core as xai
from xai_cam.grad_cam import GradCAM
from xai_cam.score_cam import ScoreCAM

__all__ = ["GradCAM", "ScoreCAM"]


@xai.hookimpl
def xai_explainers() -> list[type[xai.Explainer]]:
    """Give the explainers of this plugin."""
    return [GradCAM, ScoreCAM]
