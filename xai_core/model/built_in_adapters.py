"""The built-in adapters: for models with tokens, for models with feature maps, and for any other model."""

from torch import nn

from xai_core.model.adapter import ModelAdapter
from xai_core.model.probe import Probe
from xai_core.model.readout import Readout


class ConvolutionalAdapter(ModelAdapter):
    """Adapter of models with feature maps, channels first or last: CNNs, hierarchical transformers, hybrids."""

    kind = "convolutional"

    @classmethod
    def suits(cls, model: nn.Module, probe: Probe) -> bool:
        """Return whether the last features are a feature map."""
        return probe.last is not None and not probe.last.is_sequence


class TokenAdapter(ModelAdapter):
    """Adapter of models with tokens: vision transformers with or without a class token, and token mixers."""

    kind = "token"

    @classmethod
    def suits(cls, model: nn.Module, probe: Probe) -> bool:
        """Return whether the last features are tokens."""
        return probe.last is not None and probe.last.is_sequence

    @property
    def readout(self) -> tuple[float, ...]:
        """The weight of each of the last tokens in the output. The weights sum to one."""
        last, readout = self.probe.last, self.probe.readout
        assert last is not None
        return (readout or Readout.usual(last.count, last.elements)).weights


def adapt(model: nn.Module, probe: Probe) -> ModelAdapter:
    """Return the first built-in adapter that supports the model: for tokens, for feature maps, or for any model."""
    candidates: list[type[ModelAdapter]] = [TokenAdapter, ConvolutionalAdapter, ModelAdapter]
    return next(adapter(model, probe) for adapter in candidates if adapter.suits(model, probe))
