"""Deletion."""

from typing import ClassVar

from xai_core.plugin import Baseline
from xai_faithfulness.curves import Walk


class Deletion(Walk):
    """Deletion: the score while the most salient pixels are removed; a faithful map makes it fall early.

    By default as in RISE's reference code: the class's probability, pixels set to zero in normalized space.
    Lower is better.

    Source: Petsiuk et al., "RISE: Randomized Input Sampling for Explanation of Black-box Models", BMVC 2018,
    section 4.2.
    """

    name = "deletion"
    higher_is_better = False
    inserts: ClassVar[bool] = False
    protocol_baseline: ClassVar[Baseline] = "zero"
