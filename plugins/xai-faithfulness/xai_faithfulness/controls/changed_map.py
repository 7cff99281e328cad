"""Maps of other methods, changed in a way that does not use the model."""

from abc import abstractmethod

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import normalize, relevance


class ChangedMap(xai.Explainer):
    """Computes the map of a method, scales each map to [0,1], and changes it.

    Parameters
    ----------
    explainer
        Name, spec or object of an explainer.
    """

    def __init__(self, explainer: str | xai.Explainer) -> None:
        self.explainer = explainer
        self._explainer = xai.create_explainer(explainer) if isinstance(explainer, str) else explainer
        self.volumes = self._explainer.volumes

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request what the explainer needs."""
        return xai.Needs(parts=(self._explainer.needs(adapter),))

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Return the number of forward passes of the explainer."""
        return self._explainer.forward_passes(adapter)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B *grid"]:
        """Change the normalized map."""
        [part] = captured.parts
        return self.change(normalize(relevance(self._explainer.explain(part))))

    @abstractmethod
    def change(self, maps: Float[Tensor, "B *grid"]) -> Float[Tensor, "B *grid"]:
        """Change maps with values in [0,1]."""
