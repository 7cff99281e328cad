"""Spatial attention."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_attention.gating import GateExplainer


class SpatialAttention(GateExplainer):
    """Spatial attention: the model's spatial gate M_s in F' = M_s(F) F. A gate [C,h,w] is averaged over channels.

    A gate is any multiplication of a feature map by bounded numbers computed from it, in any module.

    Source: Woo et al., "CBAM: Convolutional Block Attention Module", ECCV 2018, eq. 1 and 3; for gates of both channels
    and locations, Park et al., "BAM: Bottleneck Attention Module", BMVC 2018, eq. 1 and 2.

    Parameters
    ----------
    layer
        Module that gates the features in its forward method, or a module that contains it, by name or as an object.
        The last spatial gate in it is used. Default: the whole model.
    """

    name = "spatial-attention"
    gated_dimension = "locations"
    alternative = "channel-attention if it weights channels, or a method for feature maps such as grad-cam"

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B h w"]:
        """Average the gate over channels."""
        [(features, values)] = captured.gates
        return values.mean(1).expand_as(features[:, 0])
