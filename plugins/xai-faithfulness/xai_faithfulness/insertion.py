"""Insertion."""

from typing import ClassVar

from xai_core.plugin import Baseline
from xai_faithfulness.curves import Walk


class Insertion(Walk):
    """Insertion: the score while the most salient pixels are brought back; a faithful map makes it rise early.

    By default as in RISE's reference code: the class's probability, from the image blurred in normalized
    space by an 11x11 Gaussian of sigma 5. Higher is better.

    Source: Petsiuk et al., "RISE: Randomized Input Sampling for Explanation of Black-box Models", BMVC 2018,
    section 4.2.
    """

    name = "insertion"
    higher_is_better = True
    inserts: ClassVar[bool] = True
    protocol_baseline: ClassVar[Baseline] = "blur"
