"""Channel attention."""

import torch

import xai_core as xai
from xai_attention.gating import GateExplainer
from xai_core.plugin import Relevance


class ChannelAttention(GateExplainer):
    """The sum of the channels of a feature map, each weighted by the gate that the model puts on it.

    L = sum_c s_c F_c, with F the features that are gated, and s the gate, or the mean over places of a gate over
    both. The weights s are kept: `Saliency.weights`.

    Source: Hu, Shen and Sun, "Squeeze-and-Excitation Networks", CVPR 2018, eq. 3 and 4, whose s it is; also Woo et al.,
    "CBAM: Convolutional Block Attention Module", ECCV 2018, eq. 2. The map is the sum over channels of what they give.

    Parameters
    ----------
    layer
        Name of the module in whose forward the features are gated, or of one around it, or the module itself; of
        several gates over channels in it the last is read. Default: the whole model.
    """

    name = "channel-attention"
    over = "channels"
    otherwise = "spatial-attention, if it gates places, or a method for feature maps, such as grad-cam"

    def explain(self, captured: xai.Captured) -> Relevance:
        """Weigh the channels and add them up."""
        [(features, values)] = captured.gates
        weights = values.mean((2, 3))  # [B,C]
        return Relevance(torch.einsum("bc,bchw->bhw", weights, features), weights=weights)
