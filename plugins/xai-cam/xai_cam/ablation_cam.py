"""Ablation-CAM."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import CAM


class AblationCAM(CAM):
    """Ablation-CAM: activations weighted by the share of the score that goes when a channel is set to zero.

    alpha_k = (y - y_k) / |y|, with y the target's logit and y_k that with A_k = 0 (eq. 4);
    L = ReLU(sum_k alpha_k A_k). The paper divides by y, which turns the map round where y is negative.
    pytorch-grad-cam sets channels far below their minimum where activations can be negative; ours follows
    the paper. Of tokens, those of places are set to zero, and prefix tokens are left.

    Only the part of the model after the layer runs again, where it can run alone, in blocks.

    Source: Desai and Ramaswamy, "Ablation-CAM: Visual Explanations for Deep Convolutional Network via
    Gradient-free Localization", WACV 2020.
    """

    name = "ablation-cam"
    gradients: ClassVar[bool] = False

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """One for each channel, but for the last features, after which little is left to run."""
        last = adapter.probe.last
        earlier = [layer for layer in self.layers(adapter) if last is None or layer != last.layer]
        return 1 + sum(adapter.features(layer).channels for layer in earlier)

    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K h w"]:
        """Weigh each channel by what its ablation takes from the score."""
        activation = captured.activation(layer)
        drops = captured.once((self, layer), lambda: self.drops(captured, layer, activation))[captured.index]
        return drops[..., None, None] * activation

    def drops(self, captured: xai.Captured, layer: str, activation: Float[Tensor, "B K h w"]) -> Float[Tensor, "V B K"]:
        """Measure the share of the score that each channel carries, for all targets of the pass."""
        batch, count = activation.shape[:2]
        score = captured.partial_forward(layer)
        whole = score.each(activation)  # [V,B]
        numbers = torch.arange(batch * count, device=activation.device)
        scores = []
        for part in score.blocks(len(numbers)):
            of, channel = numbers[part] // count, numbers[part] % count
            ablated = activation[of]
            ablated[torch.arange(len(of), device=of.device), channel] = 0
            scores.append(score.each(ablated, of))
        without = torch.cat(scores, 1).unflatten(1, (batch, count))
        size = whole.abs().where(whole != 0, 1)[..., None]
        return (whole[..., None] - without) / size
