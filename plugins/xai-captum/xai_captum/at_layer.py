"""What attributions at a layer share."""

import xai_core as xai
from xai_captum.path import Path
from xai_core.plugin import Baseline, Layer, UnsuitableError


class AtLayer(Path):
    """An integral along a path, of which a layer's features get their shares; the map is on the layer's grid.

    Parameters
    ----------
    layer
        Module name or module; default: the last spatial features, which the adapter finds.
    n_steps, method, baselines, channels
        As for `Path`.
    """

    def __init__(
        self,
        layer: Layer | None = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        baselines: Baseline = "zero",
        channels: str = "positive",
    ) -> None:
        super().__init__(n_steps, method, baselines, channels)
        self.layer = layer

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Nothing of the pass, as long as the layer's features are spatial, and images come first in them."""
        if adapter.features(self.chosen(adapter)).layout == "LNC":
            raise UnsuitableError(
                f"{self.name} is for layers whose first dimension is the batch, as captum's steps are, and "
                f"{self.chosen(adapter)!r} gives tokens first; use hires-cam at that layer"
            )
        return xai.Needs()

    def chosen(self, adapter: xai.ModelAdapter) -> str:
        """The name of the layer."""
        return adapter.default_layer if self.layer is None else adapter.layer_name(self.layer)
