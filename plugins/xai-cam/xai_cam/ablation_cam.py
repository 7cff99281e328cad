"""Ablation-CAM."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import CAM, before_the_last, weighted


class AblationCAM(CAM):
    """Ablation-CAM: activations weighted by the relative drop in the score when a channel is set to zero.

        alpha_k = (y - y_k) / |y|  (eq. 4),    L = ReLU(sum_k alpha_k A_k)

    Here y is the target's logit, and y_k is the logit with A_k = 0. The paper divides by y, which inverts the map if y
    is negative. Prefix tokens keep their values.

    pytorch-grad-cam sets channels far below their minimum if activations can be negative. This implementation follows
    the paper.

    If possible, only the part of the model after the layer runs again.

    Source: Desai and Ramaswamy, "Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free
    Localization", WACV 2020.
    """

    name = "ablation-cam"
    gradients: ClassVar[bool] = False

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count one for each channel, except at the last features, after which almost nothing runs again."""
        return 1 + sum(features.channels for features in before_the_last(self.layers(adapter), adapter))

    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K *grid"]:
        """Weight each channel by the drop in the score when the channel is zero."""
        activation = captured.activation(layer)
        drops = captured.once((self, layer), lambda: self.drops(captured, layer, activation))[captured.index]
        return weighted(drops, activation)

    def drops(
        self, captured: xai.Captured, layer: str, activation: Float[Tensor, "B K *grid"]
    ) -> Float[Tensor, "V B K"]:
        """Return the relative drop in the score when each channel is zero, for all V targets of the pass."""
        batch, count = activation.shape[:2]
        model_score = captured.partial_forward(layer)
        score = model_score.each(activation)  # [V,B]
        indices = torch.arange(batch * count, device=activation.device)
        ablated_scores = []
        for block in model_score.blocks(len(indices)):
            image, channel = indices[block] // count, indices[block] % count
            ablated = activation[image]
            ablated[torch.arange(len(image), device=image.device), channel] = 0
            ablated_scores.append(model_score.each(ablated, image))
        ablated_score = torch.cat(ablated_scores, 1).unflatten(1, (batch, count))  # [V,B,K]
        size = score.abs().where(score != 0, 1)[..., None]
        return (score[..., None] - ablated_score) / size
