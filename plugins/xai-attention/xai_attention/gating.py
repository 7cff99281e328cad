"""Base class of explainers that return the values of an attention module (gate)."""

from typing import ClassVar

from torch import nn

import xai_core as xai
from xai_core.plugin import Layer, LayerError, UnsuitableError


class GateExplainer(xai.Explainer):
    """Base class of explainers that read the last gate of a kind, in the whole model or in a layer.

    A subclass sets `gated_dimension` to `channels` or `locations`, and `alternative` to the advice for models without
    such a gate.

    Parameters
    ----------
    layer
        Module that gates the features in its forward method, or a module that contains it, by name or as an object.
        The last gate in it is used. Default: the whole model.
    """

    targeted = False
    gated_dimension: ClassVar[str]
    alternative: ClassVar[str]

    def __init__(self, layer: Layer | None = None) -> None:
        self.layer = layer

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request the features and values of one gate."""
        gates = [gate for gate in adapter.probe.gates if getattr(gate, f"over_{self.gated_dimension}")]
        if not gates:
            raise UnsuitableError(
                f"{self.name} requires a module that weights the {self.gated_dimension} of a feature map, such as "
                f"CBAM, and this model has none; use {self.alternative}"
            )
        if self.layer is None:
            return xai.Needs(gates=(gates[-1],))
        name = adapter.layer_name(self.layer) if isinstance(self.layer, nn.Module) else str(self.layer)
        within = [gate for gate in gates if f"{gate.layer}.".startswith(f"{name}." if name else "")]
        if not within:
            layers = ", ".join(dict.fromkeys(gate.layer for gate in gates))
            raise LayerError(
                f"layer {name!r} does not weight the {self.gated_dimension} of a feature map; expected one of these "
                f"layers, or a parent of one of them: {layers}"
            )
        return xai.Needs(gates=(within[-1],))
