"""Attention explainers for xai-core."""

import xai_core as xai
from xai_attention.ag_cam import AGCAM
from xai_attention.attention_flow import AttentionFlow
from xai_attention.attn_lrp import AttnLRP
from xai_attention.channel_attention import ChannelAttention
from xai_attention.class_attention import ClassAttention
from xai_attention.cp_lrp import CPLRP
from xai_attention.generic_attention import GenericAttention
from xai_attention.grad_eclip import GradEclip
from xai_attention.gradient_rollout import GradientRollout
from xai_attention.head_attention import HeadAttention
from xai_attention.legrad import LeGrad
from xai_attention.raw_attention import RawAttention
from xai_attention.rollout import Rollout
from xai_attention.spatial_attention import SpatialAttention
from xai_attention.transformer_attribution import TransformerAttribution

__all__ = [
    "AGCAM",
    "CPLRP",
    "AttentionFlow",
    "AttnLRP",
    "ChannelAttention",
    "ClassAttention",
    "GenericAttention",
    "GradEclip",
    "GradientRollout",
    "HeadAttention",
    "LeGrad",
    "RawAttention",
    "Rollout",
    "SpatialAttention",
    "TransformerAttribution",
]


@xai.hookimpl
def xai_explainers() -> list[type[xai.Explainer]]:
    """Return the explainers of this plugin."""
    return [
        AGCAM,
        AttentionFlow,
        AttnLRP,
        CPLRP,
        ChannelAttention,
        ClassAttention,
        GenericAttention,
        GradEclip,
        GradientRollout,
        HeadAttention,
        LeGrad,
        RawAttention,
        Rollout,
        SpatialAttention,
        TransformerAttribution,
    ]
