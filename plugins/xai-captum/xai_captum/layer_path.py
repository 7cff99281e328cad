"""Base class of attribution methods that integrate along a path and attribute to the features of a layer."""

import xai_core as xai
from xai_captum.path import PathAttribution
from xai_core.plugin import Baseline, Layer, UnsuitableError


class LayerPathAttribution(PathAttribution):
    """An integral along a path, attributed to the features of a layer, at feature-map resolution.

    Parameters
    ----------
    layer
        Module name or module. Default: the last features before pooling, which the adapter finds.
    n_steps, method, baselines, channels
        See `PathAttribution`.
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
        """Require a layer with spatial features and the batch as first dimension. Request nothing."""
        name = self.layer_name(adapter)
        if adapter.features(name).layout.startswith(("L", "(")):
            raise UnsuitableError(
                f"{self.name} requires a layer whose output has the batch as its first dimension. The first dimension "
                f"of {name!r} contains tokens or frames; use hires-cam at that layer"
            )
        return xai.Needs()

    def layer_name(self, adapter: xai.ModelAdapter) -> str:
        """Return the name of the layer."""
        return adapter.default_layer if self.layer is None else adapter.layer_name(self.layer)
