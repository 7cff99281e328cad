"""Text: why an image matches a text, for models that compare images with texts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jaxtyping import Float
from torch import Tensor

from xai_core.errors import TargetError
from xai_core.targets.measures import SimilarityMeasure, TextMeasure
from xai_core.targets.score_reader import ScoreReader
from xai_core.targets.similarity import Similarity
from xai_core.targets.target import BoundTarget, Target, TargetLike


@dataclass(frozen=True)
class TextEmbeddings:
    """The embeddings of texts, and how a model computes logits from cosine similarities: scale * cos + bias.

    Attributes
    ----------
    vectors
        [T,D].
    scale, bias
        Scalars of the model. `bias` is None if the model has no bias.
    """

    vectors: Float[Tensor, "T D"]
    scale: Float[Tensor, ""]
    bias: Float[Tensor, ""] | None = None


Encode = Callable[[Sequence[str]], TextEmbeddings]
"""Function that encodes texts."""


@dataclass(frozen=True, eq=False)
class Text(Target):
    """Why an image matches a text: the logit that CLIP, SigLIP and similar models compute for the image and the text.

    The logit is scale * cos(image, text) + bias, with the embeddings and the parameters of the model. As a probability,
    it is sigmoid(logit) if the model has a bias, as in SigLIP. Otherwise it is cos(image, text), because the
    probability of a text in CLIP depends on the other texts that are compared. See `Contrast` for two texts.

    Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021, figure
    3, and Zhai et al., "Sigmoid Loss for Language Image Pre-Training", ICCV 2023, section 3.2.

    Parameters
    ----------
    text
        A text, or one text per image. The engine needs the model's tokenizer: `Engine(model, tokenizer=tokenizer)`.
    """

    text: str | Sequence[str]
    embeddings: TextEmbeddings | None = field(default=None, repr=False)

    def with_texts(self, encode: Encode | None) -> "Text":
        """See `Target.with_texts`."""
        if encode is None:
            raise TargetError(
                f"the text {self.text!r} needs a tokenizer: use `Engine(model, tokenizer=tokenizer)` with a model that "
                "compares images with texts, such as CLIP"
            )
        texts: list[Any] = [*self.text] if isinstance(self.text, list | tuple) else [self.text]
        if not texts or not all(isinstance(text, str) and text for text in texts):
            raise TargetError(f"expected a text, or one text per image, and no empty text; got {self.text!r}")
        return replace(self, embeddings=encode(texts))

    def reads(self, output: Any) -> Tensor | None:
        """See `Target.reads`."""
        return None if self.embeddings is None else Similarity(self.embeddings.vectors).reads(output)

    def bind(self, output: Any, logits: ScoreReader, batch: int) -> BoundTarget:
        """See `Target.bind`."""
        if self.embeddings is None:
            return self.with_texts(None).bind(output, logits, batch)
        vectors, scale, bias = self.embeddings.vectors, self.embeddings.scale, self.embeddings.bias
        if len(vectors) not in (1, batch):
            raise TargetError(f"expected one text, or one for each of {batch} images; got {len(vectors)} texts")
        similarity = Similarity(vectors[0] if len(vectors) == 1 else vectors).bind(output, logits, batch).measure
        assert isinstance(similarity, SimilarityMeasure)
        biases = None if bias is None else bias.expand(batch)
        text = self.text if isinstance(self.text, str) else ""
        return BoundTarget(TextMeasure(similarity, scale.expand(batch), biases, text), batch)


def encoded_texts(target: TargetLike, encode: Encode | None) -> TargetLike:
    """Return a target with embeddings in place of texts. See `Target.with_texts`."""
    return target.with_texts(encode) if isinstance(target, Target) else target
