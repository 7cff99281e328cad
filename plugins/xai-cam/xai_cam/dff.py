"""Deep feature factorization."""

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import CAM, Layers, fuse, spatial_dims, weighted
from xai_cam.nonnegative_factors import factorize, nonzero
from xai_core.plugin import Relevance, check_integer, wide


class DFF(CAM):
    """Deep feature factorization: concepts in the activations, weighted by the gradient.

        A+ = ReLU(A) ~ sum_j W_j H_j,    W_j >= 0, H_j >= 0, |W_j| = 1
        alpha_j = 1/N sum_p <dy/dA_p, W_j>,    L = ReLU(sum_j alpha_j H_j)

    The first line is the method of the source, for each image separately. W_j [K] is the direction of concept j in the
    space of channels, and H_j [h,w] is its map. The factors minimize |A+ - W H|^2, see `factorize`. The maps H are the
    `parts` of the result.

    The second line is not part of the source, in which maps do not depend on a class. It is Grad-CAM with the concepts
    as channels. The `weights` of the result are alpha.

    Source: Collins, Achanta and Süsstrunk, "Deep Feature Factorization For Concept Discovery", ECCV 2018.

    Parameters
    ----------
    layer
        See `CAM`. The maps of several layers are combined, and have no parts and weights.
    concepts
        Number of concepts.
    """

    name = "dff"

    def __init__(self, layer: Layers = None, concepts: int = 5) -> None:
        super().__init__(layer)
        self.concepts = check_integer("concepts", concepts, 1)

    def explain(self, captured: xai.Captured) -> Relevance:
        """Return the map, and the maps and weights of the concepts."""
        map_ = fuse([self.map(captured, layer) for layer in captured.layers])
        if len(captured.layers) > 1:
            return Relevance(map_)
        [layer] = captured.layers
        return Relevance(map_, self.factors(captured, layer)[1], self.weights(captured, layer))

    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B concepts *grid"]:
        """Weight the map of each concept by its effect on the score."""
        return weighted(self.weights(captured, layer), self.factors(captured, layer)[1])

    def weights(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B concepts"]:
        """Return the mean derivative of the score in the direction of each concept."""
        gradient = captured.gradient(layer)
        directions = self.factors(captured, layer)[0]
        return (gradient.mean(spatial_dims(gradient))[:, None] @ directions)[:, 0]

    def factors(
        self, captured: xai.Captured, layer: str
    ) -> tuple[Float[Tensor, "B K concepts"], Float[Tensor, "B concepts *grid"]]:
        """Return the directions and the maps of the concepts, which all targets share."""
        return captured.once(("dff", layer, self.concepts), lambda: self._factors(captured.activation(layer)))

    def _factors(self, activation: Float[Tensor, "B K *grid"]) -> tuple[Tensor, Tensor]:
        w, h = factorize(wide(activation.relu().flatten(2)), self.concepts)
        norm = torch.linalg.vector_norm(w, dim=1, keepdim=True)
        maps = (norm.mT * h).unflatten(2, activation.shape[2:])
        return (w / nonzero(norm)).to(activation.dtype), maps.to(activation.dtype)
