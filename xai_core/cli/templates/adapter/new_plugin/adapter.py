"""The adapter: what xai-core must know of such a network."""

import torch
from torch import nn

import xai_core as xai
from new_plugin.network import ColumnNetwork
from xai_core.plugin import Probe


class NewPluginAdapter(xai.ModelAdapter):
    """For networks whose tokens come column by column, as an example; put what your model needs here."""

    kind = "token"
    tried_with = "new-plugin"  # a model that it is for, which `xai plugin check` tries it on

    @classmethod
    def suits(cls, model: nn.Module, probe: Probe) -> bool:
        """Whether it is for this model; it comes before the built-in adapters."""
        return isinstance(model, ColumnNetwork)

    def spatial(self, tensor: torch.Tensor, layer: str) -> torch.Tensor:
        """Show the output of a layer as [B,K,h,w]."""
        if not self.features(layer).sequence:
            return super().spatial(tensor, layer)
        h, w = self.features(layer).grid
        return tensor.transpose(1, 2).unflatten(2, (w, h)).transpose(2, 3)

    def substitute(self, tensor: torch.Tensor, maps: torch.Tensor, layer: str) -> torch.Tensor:
        """Put maps in the place of what `spatial` shows."""
        if not self.features(layer).sequence:
            return super().substitute(tensor, maps, layer)
        return maps.to(tensor.dtype).transpose(2, 3).flatten(2).transpose(1, 2)
