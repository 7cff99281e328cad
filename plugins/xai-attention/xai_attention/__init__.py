"""Attention explainers for xai-core."""

import xai_core as xai
from xai_attention.attention_flow import AttentionFlow
from xai_attention.class_attention import ClassAttention
from xai_attention.generic_attention import GenericAttention
from xai_attention.gradient_rollout import GradientRollout
from xai_attention.head_attention import HeadAttention
from xai_attention.raw_attention import RawAttention
from xai_attention.rollout import Rollout

__all__ = [
    "AttentionFlow",
    "ClassAttention",
    "GenericAttention",
    "GradientRollout",
    "HeadAttention",
    "RawAttention",
    "Rollout",
]


@xai.hookimpl
def xai_explainers() -> list[type[xai.Explainer]]:
    """Give the explainers of this plugin."""
    return [AttentionFlow, ClassAttention, GenericAttention, GradientRollout, HeadAttention, RawAttention, Rollout]
