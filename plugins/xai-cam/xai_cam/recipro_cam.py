"""Recipro-CAM."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

import xai_core as xai
from xai_cam.base import Layers, before_the_last, fuse, selected_layers
from xai_core.plugin import SCORE_KINDS, check_choice, check_flag


class ReciproCAM(xai.Explainer):
    """Recipro-CAM: the score that the features around each location have without all other features.

        L_ij = f(A * M_ij)

    f is the score of the part of the model after the layer, and A are its features. M_ij is a mask of 3x3 Gaussian
    weights around location (i,j): 1/4 there, 1/8 beside it, 1/16 at the corners, and zero elsewhere. For volumes, the
    weights are those of a 3x3x3 Gaussian. Tokens without a location, such as a class token, keep their values.

    If possible, only the part of the model after the layer runs.

    Source: Byun and Lee, "Recipro-CAM: Fast Gradient-Free Visual Explanations for Convolutional Neural Networks",
    CVPR Workshops 2024, and "ViT-ReciproCAM: Gradient and Attention-Free Visual Explanations for Vision Transformer",
    2023 (arXiv:2310.02588).

    Parameters
    ----------
    layer
        Module name, module, or a list of them. Default: the last features before pooling, which the adapter finds. If
        the head reads a class token, this is the input of the last attention.
    score
        f: `probability` (softmax), as in the authors' code, or `logit`.
    gaussian
        Whether the mask is Gaussian. Otherwise, only location (i,j) is kept, with its value.
    """

    name = "recipro-cam"
    volumes = True

    def __init__(self, layer: Layers = None, score: str = "probability", gaussian: bool = True) -> None:
        self.layer = layer
        self.score = check_choice("score", score, SCORE_KINDS)
        self.gaussian = check_flag("gaussian", gaussian)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request the activations of the layers."""
        return xai.Needs(activations=selected_layers(self.layer, adapter))

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count one for each location, except at the last features, after which almost nothing runs."""
        layers = [adapter.layer_name(layer) for layer in selected_layers(self.layer, adapter)]
        return 1 + sum(features.cells for features in before_the_last(layers, adapter))

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B *grid"]:
        """Score each location of each layer, and combine the maps of the layers."""
        return fuse([self._map(captured, layer) for layer in captured.layers])

    def _map(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B *grid"]:
        return captured.once((self, layer), lambda: self._scores(captured, layer))[captured.index]

    def _scores(self, captured: xai.Captured, layer: str) -> Float[Tensor, "V B *grid"]:
        """Return the score of each location, for all V targets of the pass."""
        activation = captured.activation(layer)
        batch, _, *grid = activation.shape
        model_score = captured.partial_forward(layer)
        locations = math.prod(grid)
        indices = torch.arange(batch * locations, device=activation.device)
        scores = []
        for block in model_score.blocks(len(indices)):
            image, location = indices[block] // locations, indices[block] % locations
            masked = activation[image] * self._masks(location, grid).to(activation)[:, None]
            scores.append(model_score.each(masked, image, self.score))
        return torch.cat(scores, 1).unflatten(1, (batch, *grid))

    def _masks(self, locations: Int[Tensor, " n"], grid: list[int]) -> Float[Tensor, "n *grid"]:
        """Return the mask of each location, as a product of weights along each side."""
        masks = torch.ones(len(locations), device=locations.device)
        for position, side in zip(torch.unravel_index(locations, grid), grid, strict=True):
            distance = (position[:, None] - torch.arange(side, device=locations.device)).abs()  # [n,side]
            weights = (2 - distance).relu() / 4 if self.gaussian else (distance == 0).float()
            masks = masks[..., None] * weights.view(len(weights), *[1] * (masks.ndim - 1), side)
        return masks
