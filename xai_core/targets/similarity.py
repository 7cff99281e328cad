"""Why an image is near to an embedding."""

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from xai_core.errors import TargetError
from xai_core.outputs import first_tensor
from xai_core.targets.target import BoundTarget, Logits, Target, at, wide


@dataclass(frozen=True, eq=False)
class Similarity(Target):
    """Why an image is near to an embedding: the cosine of the model's output [B,D] and a vector.

    For image encoders, CLIP-like (the embedding of a text) and self-supervised (that of another image).

    Parameters
    ----------
    vector
        [D], or [B,D]: one for each image.
    """

    vector: Tensor

    def bind(self, output: Any, logits: Logits, batch: int) -> BoundTarget:
        """See `Target.bind`."""
        size = _embedding(output).shape[1]
        if self.vector.shape not in ((size,), (batch, size)):
            raise TargetError(
                f"the vector of a similarity must be [{size}] or [{batch}, {size}], as the model's output is; "
                f"got {list(self.vector.shape)}"
            )
        device = _embedding(output).device
        vectors = F.normalize(wide(self.vector.detach().to(device)), dim=-1).expand(batch, size)

        def measure(output: Any, of: Tensor | None, kind: str) -> Tensor:
            return F.cosine_similarity(wide(_embedding(output)), at(vectors, of), dim=1)

        return BoundTarget(measure, batch)


def _embedding(output: Any) -> Tensor:
    tensor = first_tensor(output)
    if tensor is None or tensor.ndim != 2:
        given = f"a tensor {list(tensor.shape)}" if tensor is not None else type(output).__name__
        raise TargetError(f"a similarity needs a model whose output is embeddings [B, D]; got {given}")
    return tensor
