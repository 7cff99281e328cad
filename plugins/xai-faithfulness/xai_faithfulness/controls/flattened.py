"""Flattened maps."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import check_number
from xai_faithfulness.controls.changed_map import ChangedMap


class Flattened(ChangedMap):
    """Flattened: a power of another method's map, which enlarges the map but keeps the order of its pixels.

        M'_ij = N(M)_ij^power,    N scales each map to [0,1]

    It is a control for metrics that depend on the size of maps. If the power improves a score, the score does not show
    that one method finds better pixels than another. This method is not from a paper.

    Parameters
    ----------
    explainer
        Name, spec or object of an explainer.
    power
        The exponent, > 0. A power below 1 enlarges maps, and a power above 1 reduces them.
    """

    name = "flattened"

    def __init__(self, explainer: str | xai.Explainer = "grad-cam", power: float = 0.5) -> None:
        super().__init__(explainer)
        self.power = check_number("power", power, above=0)

    def change(self, maps: Float[Tensor, "B *grid"]) -> Float[Tensor, "B *grid"]:
        """Raise each value to the power."""
        return maps**self.power
