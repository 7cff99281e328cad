"""Insertion."""

from typing import ClassVar

from xai_core.plugin import Baseline
from xai_faithfulness.curves import PerturbationCurve


class Insertion(PerturbationCurve):
    """Insertion: the area under the score while the most salient pixels are inserted first.

    A faithful map makes the score rise early: higher is better. The defaults follow RISE's reference code: the
    probability of the class, starting from a blurred image. The blur is an 11x11 Gaussian of sigma 5 in the normalized
    space.

    Source: Petsiuk et al., "RISE: Randomized Input Sampling for Explanation of Black-box Models", BMVC 2018, section
    4.2.
    """

    name = "insertion"
    higher_is_better = True
    inserts: ClassVar[bool] = True
    protocol_baseline: ClassVar[Baseline] = "blur"
