"""What tests compare the engine with: a layer of a model, read in float64 with hooks of its own."""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate


class Reference:
    """A model in float64 for a batch of images, and one of its layers, whose output may be replaced."""

    def __init__(self, model: nn.Module, layer: str, images: Tensor) -> None:
        self.model, self.images = copy.deepcopy(model).double(), images.double()
        self.layer = self.model.get_submodule(layer)
        self.scores, self.leaf = self.forward(self.images)
        self.activation = self.spatial(self.leaf.detach())
        self.target = self.scores.argmax(1).tolist()

    def forward(self, images: Tensor, maps: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The scores, and the layer's output as a leaf, in which maps [N,K,h,w] may take the place of the features."""
        kept: list[Tensor] = []

        def keep(_: nn.Module, __: object, output: Tensor) -> Tensor:
            kept.append((output if maps is None else self.placed(output, maps)).detach().clone().requires_grad_())
            return kept[-1].clone()

        handle = self.layer.register_forward_hook(keep)
        scores = self.model(images)
        handle.remove()
        return scores, kept[-1]

    def gradient(self, classes: list[int]) -> Tensor:
        """The gradient [B,K,h,w] of each image's class at the layer."""
        chosen = sum(scores[c] for scores, c in zip(self.scores, classes, strict=True))
        (gradient,) = torch.autograd.grad(chosen, self.leaf, retain_graph=True)
        return self.spatial(gradient)

    @torch.no_grad()
    def score(self, image: Tensor, target: int, maps: Tensor | None = None) -> Tensor:
        """The logit of one image."""
        return self.forward(image[None], None if maps is None else maps[None])[0][0, target]

    @torch.no_grad()
    def probability(self, image: Tensor, target: int, maps: Tensor | None = None) -> Tensor:
        return self.forward(image[None], None if maps is None else maps[None])[0][0].softmax(0)[target]

    @staticmethod
    def spatial(output: Tensor) -> Tensor:
        """Features [B,K,h,w] of a map, or of tokens after a class token."""
        if output.ndim == 4:
            return output
        side = round((output.shape[1] - 1) ** 0.5)
        return output[:, 1:].mT.unflatten(2, (side, side))

    @staticmethod
    def placed(output: Tensor, maps: Tensor) -> Tensor:
        return maps if output.ndim == 4 else torch.cat([output[:, :1], maps.flatten(2).mT], 1)


def relative(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, as a share of the largest value."""
    return ((ours - theirs).abs().amax() / theirs.abs().amax()).item()


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps [B,h,w] bilinearly resized."""
    return interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]


def between_zero_and_one(maps: Tensor) -> Tensor:
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low)


def by_peer(method: type, model: nn.Module, layer: str, images: Tensor, **options: Any) -> Tensor:
    """The normalized maps that a method of pytorch-grad-cam makes for the predicted classes."""
    layers = [model.get_submodule(layer)] if layer else []
    cam = method(model, layers, reshape_transform=Reference.spatial, **options)
    with cam:
        return torch.from_numpy(np.asarray(cam(images.clone(), targets=None)))
