"""Model adapter: describes a network to xai-core."""

import torch
from torch import nn

import xai_core as xai
from new_plugin.network import ColumnNetwork
from xai_core.plugin import Probe


class NewPluginAdapter(xai.ModelAdapter):
    """Adapter for tokens in column-major order. TODO: replace this example by the adapter of your model."""

    kind = "token"
    test_spec = "new-plugin"  # spec of a compatible model, for `xai plugin check`

    @classmethod
    def suits(cls, model: nn.Module, probe: Probe) -> bool:
        """Return whether this adapter supports the model. The engine tries it before the built-in adapters."""
        return isinstance(model, ColumnNetwork)

    def spatial(self, tensor: torch.Tensor, layer: str) -> torch.Tensor:
        """Return the output of a layer as [B,K,h,w]."""
        if not self.features(layer).is_sequence:
            return super().spatial(tensor, layer)
        h, w = self.features(layer).grid
        return tensor.transpose(1, 2).unflatten(2, (w, h)).transpose(2, 3)

    def substitute(self, tensor: torch.Tensor, maps: torch.Tensor, layer: str) -> torch.Tensor:
        """Return the output of a layer with its spatial features replaced by `maps` [B,K,h,w]."""
        if not self.features(layer).is_sequence:
            return super().substitute(tensor, maps, layer)
        return maps.to(tensor.dtype).transpose(2, 3).flatten(2).transpose(1, 2)
