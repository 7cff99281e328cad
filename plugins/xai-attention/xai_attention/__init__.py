"""Attention explainers for xai-core."""

import xai_core as xai
from xai_attention.head_attention import HeadAttention
from xai_attention.rollout import Rollout

__all__ = ["HeadAttention", "Rollout"]


@xai.hookimpl
def xai_explainers() -> list[type[xai.Explainer]]:
    """Give the explainers of this plugin."""
    return [HeadAttention, Rollout]
