"""Token: why a captioner or a vision-language model generates a token."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from xai_core.errors import TargetError
from xai_core.outputs import Path, described, tensors_of
from xai_core.targets.measures import TokenMeasure
from xai_core.targets.score_reader import ScoreReader
from xai_core.targets.selection import TOKEN_SCORES, find, read
from xai_core.targets.target import BoundTarget, Target, class_ids


@dataclass(frozen=True, eq=False)
class Token(Target):
    """Why a model generates a token: its logit at one position of the model's output [B,L,V].

    The model's `forward=` receives the image and the tokens before this token, such as the prompt and the words that
    were generated earlier.

    Parameters
    ----------
    position
        The index in L of the logits of the token. Negative indices count from the end. In a decoder, the logits at
        position i belong to the token after the input token i, so -1 is the token after the prompt.
    id
        The id of the token in the vocabulary of V tokens, or one id per image. Default: the token with the highest
        logit.
    """

    position: int = -1
    id: int | Sequence[int] | Tensor | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.position, int) or isinstance(self.position, bool):
            raise TargetError(f"the position of a token must be an integer, got {self.position!r}")

    @property
    def kind(self) -> Hashable:
        """See `Target.kind`."""
        return "Token", self.position

    def reads(self, output: Any) -> Tensor | None:
        """See `Target.reads`."""
        return self._scores(output, 1)[1]

    def bind(self, output: Any, logits: ScoreReader, batch: int) -> BoundTarget:
        """See `Target.bind`."""
        path, scores = self._scores(output, batch)
        size = scores.shape[1]
        ids = scores.detach().argmax(1) if self.id is None else class_ids(self.id, scores, batch)
        if ids.ndim != 1:
            raise TargetError(f"expected one token per image, got token ids of shape {list(ids.shape)}")
        reason = f"not tokens of this model: expected 0 to {size - 1}"
        measure = TokenMeasure(ids.clamp(0, size - 1), self.position, path)
        return BoundTarget(measure, batch, (ids >= 0) & (ids < size), reason)

    def _scores(self, output: Any, rows: int) -> tuple[Path, Float[Tensor, "N V"]]:
        """Return the path of the logits of all positions, and the logits at this position."""
        if not any(TOKEN_SCORES.fits(tensor) for tensor in tensors_of(output)):
            raise TargetError(
                f"a token needs a model whose output contains logits of tokens [B,L,V]; got {described(output)}"
            )
        path = find(output, rows, TOKEN_SCORES)
        logits = read(output, path, rows, TOKEN_SCORES)
        if not -logits.shape[1] <= self.position < logits.shape[1]:
            raise TargetError(f"position {self.position} is out of range; the output has {logits.shape[1]} positions")
        return path, logits[:, self.position]
