"""A tokenizer for texts of a few words."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from xai_core.plugin import TargetError


@dataclass(frozen=True)
class WordTokenizer:
    """Converts texts to the ids of their words, padded with 0 to a fixed length.

    Attributes
    ----------
    words
        The known words. The id of the first one is 1.
    length
        Maximum number of words of a text.
    """

    words: Sequence[str]
    length: int

    def __call__(self, texts: Sequence[str]) -> Int[Tensor, "T L"]:
        """Return the ids of texts. Case is ignored.

        Raises
        ------
        TargetError
            If a text contains no word, an unknown word, or too many words.
        """
        return torch.tensor([self._ids(text) for text in texts])

    def _ids(self, text: str) -> list[int]:
        words = text.lower().split()
        unknown = next((word for word in words if word not in self.words), None)
        if unknown is not None:
            raise TargetError(
                f"the model does not know the word {unknown!r} in {text!r}; use the words {', '.join(self.words)}"
            )
        if not 0 < len(words) <= self.length:
            raise TargetError(f"expected 1 to {self.length} words, got {len(words)} in {text!r}")
        return [1 + self.words.index(word) for word in words] + [0] * (self.length - len(words))
