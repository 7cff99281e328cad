"""Explainers over the channels of another CAM."""

from collections.abc import Sequence
from dataclasses import replace

import xai_core as xai
from xai_cam.base import CAM, Layers
from xai_core.plugin import OptionError

Negatives = int | str | Sequence[int]
"""How many of the highest-scoring other classes, or their ids: a list, `"3+7"`, or `"3+"` for one."""


def chosen_classes(negatives: Negatives) -> int | tuple[int, ...]:
    """How many other classes, or which.

    Raises
    ------
    OptionError
        Where it is neither.
    """
    try:
        if not isinstance(negatives, str):
            chosen = negatives if isinstance(negatives, int) else tuple(map(int, negatives))
        elif "+" in negatives:
            chosen = tuple(int(one) for one in negatives.split("+") if one)
        else:
            chosen = int(negatives)
    except (TypeError, ValueError):
        chosen = -1
    if isinstance(chosen, int) and chosen < 0:
        raise OptionError(f"negatives must be a number of classes or ids like 3+7, not {negatives!r}")
    return chosen or 0


def written(negatives: Negatives) -> int | str:
    """The negatives as a spec holds them, in which one id is no number of classes."""
    if isinstance(negatives, int | str):
        return negatives
    return "+".join(map(str, negatives)) + "+" * (len(negatives) == 1) if negatives else 0


class Comparison(CAM):
    """A CAM over the channels of another one, the base, for the target and for other classes, the negatives."""

    def __init__(self, layer: Layers, base: str | xai.Explainer, negatives: Negatives) -> None:
        super().__init__(layer)
        self.base = base
        self.negatives = written(negatives)
        self._base = base_cam(base, layer)
        self._rivals = chosen_classes(negatives)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """What the base needs, for other classes too."""
        return replace(self._base.needs(adapter), rivals=self._rivals)

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Those of the base."""
        return self._base.forward_passes(adapter)


def base_cam(base: str | xai.Explainer, layer: Layers = None) -> CAM:
    """Make the base, by name or as it is.

    Raises
    ------
    OptionError
        Where its map is not a sum of weighted channels, or it has a layer of its own beside `layer`.
    """
    made = base
    if isinstance(base, str):
        made = xai.create_explainer(base) if layer is None else xai.create_explainer(base, layer=layer)
    elif layer is not None:
        raise OptionError("give the layer to the base, or the base by name")
    if not isinstance(made, CAM) or type(made).map is not CAM.map:
        shown = base if isinstance(base, str) else base.name
        raise OptionError(f"the base must weigh channels of a layer, as grad-cam does; {shown!r} does not")
    return made
