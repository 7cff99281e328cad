"""Similarity: why an image is similar to an embedding."""

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from xai_core.errors import TargetError
from xai_core.precision import at_least_float32
from xai_core.targets.measures import SimilarityMeasure, embeddings
from xai_core.targets.score_reader import ScoreReader
from xai_core.targets.selection import EMBEDDINGS, read
from xai_core.targets.target import BoundTarget, Target


@dataclass(frozen=True, eq=False)
class Similarity(Target):
    """Why an image is similar to an embedding: the cosine similarity of the model's output [B,D] and a vector.

    The model is an image encoder. For a CLIP-like encoder, the vector can be the embedding of a text. For a
    self-supervised encoder, it can be the embedding of another image.

    Parameters
    ----------
    vector
        [D], or [B,D] with one vector per image.
    """

    vector: Tensor

    def reads(self, output: Any) -> Tensor | None:
        """See `Target.reads`."""
        return read(output, embeddings(output, 1), 1, EMBEDDINGS)

    def bind(self, output: Any, logits: ScoreReader, batch: int) -> BoundTarget:
        """See `Target.bind`."""
        path = embeddings(output, batch)
        embedding = read(output, path, batch, EMBEDDINGS)
        size = embedding.shape[1]
        if self.vector.shape not in ((size,), (batch, size)):
            raise TargetError(
                f"the vector of a similarity must have the shape [{size}] or [{batch}, {size}], like the model's "
                f"output; got {list(self.vector.shape)}"
            )
        vectors = F.normalize(at_least_float32(self.vector.detach().to(embedding.device)), dim=-1).expand(batch, size)
        return BoundTarget(SimilarityMeasure(vectors, path), batch)
