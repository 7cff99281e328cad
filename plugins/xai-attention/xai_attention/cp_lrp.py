"""CP-LRP."""

from typing import ClassVar

from xai_attention.attn_lrp import AttnLRP


class CPLRP(AttnLRP):
    """CP-LRP: `attn-lrp` with constant attention weights, so that relevance passes through the values only.

    In a model without biases, the relevance of all pixels sums to the score.

    Source: Ali et al., "XAI for Transformers: Better Explanations through Conservative Propagation", ICML 2022.

    Parameters
    ----------
    gamma, channels
        See `AttnLRP`.
    """

    name = "cp-lrp"
    constant_attention: ClassVar[bool] = True
