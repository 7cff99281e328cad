"""Similarity: why an image is similar to an embedding."""

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from xai_core.errors import TargetError
from xai_core.targets.measures import Logits, SimilarityMeasure, at_least_float32, embeddings
from xai_core.targets.target import BoundTarget, Target


@dataclass(frozen=True, eq=False)
class Similarity(Target):
    """Why an image is similar to an embedding: the cosine similarity of the model's output [B,D] and a vector.

    For image encoders: CLIP-like ones, with the embedding of a text, and self-supervised ones, with the embedding of
    another image.

    Parameters
    ----------
    vector
        [D], or [B,D] with one vector per image.
    """

    vector: Tensor

    def bind(self, output: Any, logits: Logits, batch: int) -> BoundTarget:
        """See `Target.bind`."""
        size = embeddings(output).shape[1]
        if self.vector.shape not in ((size,), (batch, size)):
            raise TargetError(
                f"the vector of a similarity must have the shape [{size}] or [{batch}, {size}], like the model's "
                f"output; got {list(self.vector.shape)}"
            )
        device = embeddings(output).device
        vectors = F.normalize(at_least_float32(self.vector.detach().to(device)), dim=-1).expand(batch, size)
        return BoundTarget(SimilarityMeasure(vectors), batch)
