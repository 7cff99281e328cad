"""Deletion."""

from typing import ClassVar

from xai_core.plugin import Baseline
from xai_faithfulness.curves import PerturbationCurve


class Deletion(PerturbationCurve):
    """Deletion: the area under the score while the most salient pixels are removed first.

    A faithful map makes the score fall early: lower is better. The defaults follow RISE's reference code: the
    probability of the class, with removed pixels set to zero in the normalized space.

    Source: Petsiuk et al., "RISE: Randomized Input Sampling for Explanation of Black-box Models", BMVC 2018, section
    4.2.
    """

    name = "deletion"
    higher_is_better = False
    inserts: ClassVar[bool] = False
    protocol_baseline: ClassVar[Baseline] = "zero"
