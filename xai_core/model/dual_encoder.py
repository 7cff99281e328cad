"""Models that encode images and texts as vectors of one space, such as CLIP and SigLIP."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from xai_core.errors import InputTypeError, ModelOutputError, TargetError
from xai_core.model.execution import scoring, unwrapped
from xai_core.precision import at_least_float32
from xai_core.targets.text import TextEmbeddings

Tokenizer = Callable[..., Any]
"""A tokenizer or processor of transformers, or a function from a list of texts to the text encoder's arguments."""
_METHODS = (("get_image_features", "get_text_features"), ("encode_image", "encode_text"))
"""The names of the image and the text encoder in transformers, and in open_clip and OpenAI's clip."""


class DualEncoder:
    """A model that encodes images and texts.

    Parameters
    ----------
    model
        A model with `get_image_features` and `get_text_features`, as in transformers, or with `encode_image` and
        `encode_text`, as in open_clip.
    tokenizer
        The tokenizer of the model.

    Raises
    ------
    InputTypeError
        If the model has no such methods, or the tokenizer is not callable.
    """

    def __init__(self, model: nn.Module, tokenizer: Tokenizer) -> None:
        self._model, self._tokenizer = unwrapped(model), tokenizer
        pairs = [pair for pair in _METHODS if all(hasattr(self._model, name) for name in pair)]
        if not pairs:
            raise InputTypeError(
                "`tokenizer` is for models that compare images with texts, which have the methods "
                f"{' or '.join(' and '.join(pair) for pair in _METHODS)}; got {type(self._model).__name__}"
            )
        if not callable(tokenizer):
            raise InputTypeError(
                "expected `tokenizer` as a tokenizer of transformers or open_clip, or a function from a list of texts "
                f"to token ids; got {type(tokenizer).__name__}"
            )
        self._of_images, self._of_texts = pairs[0]

    def embed_images(self, model: nn.Module, images: Tensor, of: Tensor) -> dict[str, Tensor]:
        """Call the image encoder of the model, or of a copy, as a `Forward`. The output is {"image_embeds": [B,D]}."""
        return {"image_embeds": _embeddings(getattr(unwrapped(model), self._of_images)(images))}

    def embed_texts(self, texts: Sequence[str]) -> TextEmbeddings:
        """Return the embeddings of texts, with the scale and the bias of the model's logits.

        Raises
        ------
        InputTypeError
            If the tokenizer does not return tensors.
        ModelOutputError
            If an encoder does not return embeddings.
        TargetError
            If a text is longer than the model's context, the tokenizer is of another model, or the model has no scale
            of logits.
        """
        device = next((tensor.device for tensor in self._model.parameters()), torch.device("cpu"))
        with scoring(self._model):
            encode, tokens = getattr(self._model, self._of_texts), self._tokens(texts)
            if isinstance(tokens, Mapping):
                vectors = encode(**{name: ids.to(device) for name, ids in tokens.items()})
            else:
                vectors = encode(tokens.to(device))
            return TextEmbeddings(at_least_float32(_embeddings(vectors)), *self._logit_parameters())

    def _tokens(self, texts: Sequence[str]) -> Mapping[str, Tensor] | Tensor:
        if not hasattr(self._tokenizer, "model_input_names"):  # not a tokenizer of transformers
            return _accept_tokens(self._tokenizer([*texts]))
        config: Any = self._model.config
        length = getattr(config.text_config, "max_position_embeddings", None)
        if "siglip" in config.text_config.model_type:  # it has no attention mask, and is trained on padded texts
            tokens = self._tokenizer(text=[*texts], return_tensors="pt", padding="max_length", max_length=length)
        else:
            tokens = self._tokenizer(text=[*texts], return_tensors="pt", padding=True)
        count = tokens["input_ids"].shape[1]
        if length is not None and count > length:
            raise TargetError(f"a text has {count} tokens, and the model reads at most {length}; use a shorter text")
        known, largest = config.text_config.vocab_size, int(tokens["input_ids"].max())
        if largest >= known:
            raise TargetError(
                f"the tokenizer returns the token id {largest}, and the model has embeddings of {known} tokens; pass "
                "the tokenizer of this model"
            )
        return tokens

    def _logit_parameters(self) -> tuple[Tensor, Tensor | None]:
        """Return the scale and the bias of the model's logits."""
        model: Any = self._model
        scale, bias = getattr(model, "logit_scale", None), getattr(model, "logit_bias", None)
        factor = scale.exp() if isinstance(scale, Tensor) else None
        if factor is None and isinstance(getattr(model, "temperature", None), Tensor):  # as in ALIGN
            factor = 1 / model.temperature
        if factor is None:
            raise TargetError(
                f"{type(model).__name__} has no `logit_scale`, so the logit of a text is not known; use "
                "`target=Similarity(vector)` with the embedding of the text"
            )
        return at_least_float32(factor).squeeze(), None if bias is None else at_least_float32(bias).squeeze()


def _accept_tokens(tokens: object) -> Mapping[str, Tensor] | Tensor:
    values = [*tokens.values()] if isinstance(tokens, Mapping) else [tokens]
    if values and all(isinstance(value, Tensor) for value in values):
        return tokens  # type: ignore[return-value]
    received = ", ".join(sorted({type(value).__name__ for value in values}))
    within = f"a {type(tokens).__name__} of {received or 'nothing'}" if isinstance(tokens, Mapping) else received
    raise InputTypeError(
        "expected `tokenizer` to return the tokens of the texts as a tensor, or as a dict of arguments of the text "
        f"encoder; got {within}"
    )


def _embeddings(output: Any) -> Tensor:
    """Return the embeddings [N,D] in the output of an encoder."""
    vectors = output if isinstance(output, Tensor) else getattr(output, "pooler_output", None)
    if isinstance(vectors, Tensor) and vectors.ndim == 2:
        return vectors
    raise ModelOutputError(
        "expected an encoder that returns embeddings [N,D], or an object with a `pooler_output` [N,D]; got "
        + (f"a tensor of shape {tuple(vectors.shape)}" if isinstance(vectors, Tensor) else type(output).__name__)
    )
