"""Channel attention."""

import torch

import xai_core as xai
from xai_attention.gating import GateExplainer
from xai_core.plugin import Relevance


class ChannelAttention(GateExplainer):
    """Channel attention: the channels of a feature map, weighted by the model's channel gate and summed.

        L = sum_c s_c F_c

    F are the features before the gate, and s is the gate. If a gate covers channels and locations, s is its spatial
    mean. The weights s are returned as `Saliency.weights`.

    Source: Hu, Shen and Sun, "Squeeze-and-Excitation Networks", CVPR 2018, eq. 3 and 4, for s; also Woo et al., "CBAM:
    Convolutional Block Attention Module", ECCV 2018, eq. 2. The map sums the gated features of these equations over
    channels.

    Parameters
    ----------
    layer
        Module that gates the features in its forward method, or a module that contains it, by name or as an object.
        The last channel gate in it is used. Default: the whole model.
    """

    name = "channel-attention"
    gated_dimension = "channels"
    alternative = "spatial-attention if it weights locations, or a method for feature maps such as grad-cam"

    def explain(self, captured: xai.Captured) -> Relevance:
        """Weight the channels by the gate and sum them."""
        [(features, values)] = captured.gates
        weights = values.mean((2, 3))  # [B,C]
        return Relevance(torch.einsum("bc,bchw->bhw", weights, features), weights=weights)
