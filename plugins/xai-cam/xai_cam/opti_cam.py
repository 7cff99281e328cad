"""Opti-CAM."""

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

import xai_core as xai
from xai_cam.base import CAM, Layers, weighted
from xai_cam.score_cam import minmax, upsampled
from xai_core.plugin import SharedModel, check_integer, check_number

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
"""Decay rates of the moments of Adam, and its smallest divisor."""


class OptiCAM(CAM):
    """Opti-CAM: the convex combination of channels that, as a mask on the image, maximizes the score.

        L = sum_k softmax(u)_k ReLU(A_k),    u = argmax_u f(x * minmax(up(L)))

    f is the target's score, which is a logit for a class. u starts at zero, and Adam maximizes f for each image.
    The map has feature-map resolution.

    The authors' code masks the pixels before they are normalized, so that hidden pixels are black. Here the normalized
    image is masked, as in `score-cam`. The authors' code also stops early if the scores of the batch decrease.

    Source: Zhang et al., "Opti-CAM: Optimizing saliency maps for interpretability", Computer Vision and Image
    Understanding, 2024.

    Parameters
    ----------
    layer
        See `CAM`.
    steps
        Number of steps of Adam.
    rate
        Learning rate of Adam, positive.
    """

    name = "opti-cam"
    gradients: ClassVar[bool] = False  # at the layer

    def __init__(self, layer: Layers = None, steps: int = 50, rate: float = 0.1) -> None:
        super().__init__(layer)
        self.steps = check_integer("steps", steps, 1)
        self.rate = check_number("rate", rate, above=0)

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count one for each step at each layer."""
        return 1 + self.steps * len(self.layers(adapter))

    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K *grid"]:
        """Weight each rectified channel by its optimal weight."""
        model, channels = captured.shared_model(), captured.activation(layer).relu()
        numbers = torch.arange(len(channels), device=channels.device)
        weights = [
            self.optimized(model, captured.images[of], channels[of], of) for of in numbers.split(max(1, model.block))
        ]
        return weighted(torch.cat(weights), channels)

    def optimized(
        self,
        model: SharedModel,
        images: Float[Tensor, "n C *size"],
        channels: Float[Tensor, "n K *grid"],
        of: Int[Tensor, " n"],
    ) -> Float[Tensor, "n K"]:
        """Return the weights of the channels after all steps of Adam."""
        logits = first = second = channels.new_zeros(channels.shape[:2])
        for step in range(1, self.steps + 1):
            gradient = self.gradient(model, images, channels, of, logits)
            first = BETA_1 * first + (1 - BETA_1) * gradient
            second = BETA_2 * second + (1 - BETA_2) * gradient.square()
            deviation = (second / (1 - BETA_2**step)).sqrt() + EPSILON
            logits = logits + self.rate * first / (1 - BETA_1**step) / deviation
        return logits.softmax(1)

    def gradient(
        self,
        model: SharedModel,
        images: Float[Tensor, "n C *size"],
        channels: Float[Tensor, "n K *grid"],
        of: Int[Tensor, " n"],
        logits: Float[Tensor, "n K"],
    ) -> Float[Tensor, "n K"]:
        """Return the gradient of each image's score with respect to the logits of the weights."""
        with torch.inference_mode(False), torch.enable_grad():
            logits = logits.clone().requires_grad_()
            combined = weighted(logits.softmax(1), channels.clone()).sum(1)
            masked = images.clone() * minmax(upsampled(combined, images)).to(images.dtype)
            [gradient] = torch.autograd.grad(model(masked, of.clone()).sum(), logits)
        return gradient
