"""Spatial attention."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_attention.gating import GateExplainer


class SpatialAttention(GateExplainer):
    """What a gate lets through of each place: M_s of F' = M_s(F) F, or the mean over channels of a gate over both.

    Any multiplication of a feature map by bounded numbers that were made of it is a gate, whatever its module.

    Source: Woo et al., "CBAM: Convolutional Block Attention Module", ECCV 2018, eq. 1 and 3; for gates over channels
    and places at once, Park et al., "BAM: Bottleneck Attention Module", BMVC 2018, eq. 1 and 2.

    Parameters
    ----------
    layer
        Name of the module in whose forward the features are gated, or of one around it, or the module itself; of
        several gates over places in it the last is read. Default: the whole model.
    """

    name = "spatial-attention"
    over = "locations"
    otherwise = "channel-attention, if it gates channels, or a method for feature maps, such as grad-cam"

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B h w"]:
        """Average the gate over channels."""
        [(features, values)] = captured.gates
        return values.mean(1).expand_as(features[:, 0])
