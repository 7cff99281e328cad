"""The base of explainers that read a gate: numbers that a model multiplies its features by."""

from typing import ClassVar

from torch import nn

import xai_core as xai
from xai_core.plugin import Layer, LayerError, UnsuitableError


class GateExplainer(xai.Explainer):
    """Reads the last gate of a kind, in the whole model or in a layer.

    Parameters
    ----------
    layer
        Name of the module in whose forward the features are gated, or of one around it, or the module itself; of
        several gates in it the last is read. Default: the whole model.
    """

    targeted = False
    over: ClassVar[str]
    otherwise: ClassVar[str]

    def __init__(self, layer: Layer | None = None) -> None:
        self.layer = layer

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """The features and values of one gate."""
        gates = [gate for gate in adapter.probe.gates if getattr(gate, f"over_{self.over}")]
        if not gates:
            raise UnsuitableError(
                f"{self.name} is defined for models that gate the {self.over} of their features, and this one was not "
                f"seen to; use {self.otherwise}"
            )
        if self.layer is None:
            return xai.Needs(gates=(gates[-1],))
        name = adapter.layer_name(self.layer) if isinstance(self.layer, nn.Module) else str(self.layer)
        within = [gate for gate in gates if f"{gate.layer}.".startswith(f"{name}." if name else "")]
        if not within:
            seen = ", ".join(dict.fromkeys(gate.layer for gate in gates))
            raise LayerError(f"no gate over {self.over} is in layer {name!r}; expected a layer around one of: {seen}")
        return xai.Needs(gates=(within[-1],))
