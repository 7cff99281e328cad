"""Similarity: why an image is similar to an embedding."""

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from xai_core.batched import Batched
from xai_core.errors import TargetError
from xai_core.outputs import first_tensor
from xai_core.targets.target import BoundTarget, Logits, Target, at, wide


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
        size = _embedding(output).shape[1]
        if self.vector.shape not in ((size,), (batch, size)):
            raise TargetError(
                f"the vector of a similarity must have the shape [{size}] or [{batch}, {size}], like the model's "
                f"output; got {list(self.vector.shape)}"
            )
        device = _embedding(output).device
        vectors = F.normalize(wide(self.vector.detach().to(device)), dim=-1).expand(batch, size)
        return BoundTarget(SimilarityMeasure(vectors), batch)


@dataclass(frozen=True, eq=False, repr=False)
class SimilarityMeasure(Batched):
    """The cosine similarity of an embedding and the unit `vectors` [B,D]."""

    vectors: Float[Tensor, "B D"]

    def __call__(self, output: Any, of: Tensor | None, kind: str) -> Tensor:
        """See `BoundTarget.measure`."""
        return F.cosine_similarity(wide(_embedding(output)), at(self.vectors, of), dim=1)


def _embedding(output: Any) -> Tensor:
    tensor = first_tensor(output)
    if tensor is None or tensor.ndim != 2:
        received = f"a tensor {list(tensor.shape)}" if tensor is not None else type(output).__name__
        raise TargetError(f"a similarity needs a model whose output is embeddings [B, D]; got {received}")
    return tensor
