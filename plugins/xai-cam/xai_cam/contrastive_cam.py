"""Base class of CAMs that compare the target with other classes."""

from collections.abc import Sequence
from dataclasses import replace

import xai_core as xai
from xai_cam.base import CAM, Layers
from xai_core.plugin import OptionError

Negatives = int | str | Sequence[int]
"""A number of the highest-scoring other classes, or class ids: a list, `"3+7"`, or `"3+"` for a single id."""


class ContrastiveCAM(CAM):
    """CAM on the channels of a base CAM, computed for the target and for other classes, the negatives."""

    def __init__(self, layer: Layers, base: str | xai.Explainer, negatives: Negatives) -> None:
        super().__init__(layer)
        self.base = base
        self.negatives: int | str | None = negatives_option(negatives)
        self._base = base_cam(base, layer)
        self._rivals = parse_negatives(negatives)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request what the base needs, also for the negatives.

        Raises
        ------
        OptionError
            If the base compares classes too.
        """
        needs = self._base.needs(adapter)
        if not self._rivals:
            return needs
        if needs.rivals:
            raise OptionError(
                f"{self.name} compares classes, and so does its base {self._base.spec!r}; use a base such as grad-cam"
            )
        return replace(needs, rivals=self._rivals)

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Return the number of forward passes of the base."""
        return self._base.forward_passes(adapter)


def parse_negatives(negatives: Negatives) -> int | tuple[int, ...]:
    """Return the number of negatives, or their class ids.

    Raises
    ------
    OptionError
        If it is neither a number nor a list of ids.
    """
    try:
        if not isinstance(negatives, str):
            parsed = negatives if isinstance(negatives, int) else tuple(map(int, negatives))
        elif "+" in negatives:
            parsed = tuple(int(class_id) for class_id in negatives.split("+") if class_id)
        else:
            parsed = int(negatives)
    except (TypeError, ValueError):
        parsed = -1
    if isinstance(parsed, int) and parsed < 0:
        raise OptionError(f"negatives must be the number of other classes, or class ids such as 3+7, got {negatives!r}")
    return parsed or 0


def negatives_option(negatives: Negatives) -> int | str:
    """Return the negatives as the value of an option in a spec, where a plus sign marks a single id."""
    if isinstance(negatives, int | str):
        return negatives
    return "+".join(map(str, negatives)) + "+" * (len(negatives) == 1) if negatives else 0


def base_cam(base: str | xai.Explainer, layer: Layers = None) -> CAM:
    """Return the base CAM, created from its name or spec if necessary.

    Raises
    ------
    OptionError
        If the base does not sum weighted channels, or if it is an object and `layer` is set too.
    """
    explainer = base
    if isinstance(base, str):
        explainer = xai.create_explainer(base) if layer is None else xai.create_explainer(base, layer=layer)
    elif layer is not None:
        raise OptionError(
            "layer= cannot be combined with a base object; set the layer of that object, or pass the base by name"
        )
    own = (CAM.map, CAM.explain)
    if not isinstance(explainer, CAM) or (type(explainer).map, type(explainer).explain) != own:
        name = base if isinstance(base, str) else base.name
        raise OptionError(f"expected a method that sums weighted channels, such as grad-cam, got {name!r}")
    return explainer
