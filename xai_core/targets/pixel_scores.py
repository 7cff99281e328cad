"""Reads the scores of each pixel in a segmentation model's output, which has one of three formats."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from xai_core.errors import ModelOutputError, TargetError
from xai_core.outputs import Path, described, leaves_of, tensors_of
from xai_core.precision import at_least_float32
from xai_core.targets.selection import PIXEL_SCORES, find, read, wrong_output

QUERIES = (("class_queries_logits", "masks_queries_logits"), ("pred_logits", "pred_masks"), ("logits", "pred_masks"))
"""Names of the class logits and the mask logits of queries.

The first pair is used by MaskFormer, Mask2Former and OneFormer in transformers, the second by the code of their
authors, and the third by DETR.
"""
MASKS, QUALITIES = "pred_masks", "iou_scores"
"""Names of the masks of prompts and of their predicted intersection over union, in SAM of transformers."""


@dataclass(frozen=True)
class PixelReader(ABC):
    """Reads the scores of each pixel in outputs of one format."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        torch.serialization.add_safe_globals([cls])

    @abstractmethod
    def __call__(self, output: Any, rows: int) -> Float[Tensor, "N K *size"]:
        """Return the scores of K classes or masks in an output for N images.

        Raises
        ------
        ModelOutputError
            If the output does not contain scores with one row per image.
        """

    @abstractmethod
    def probabilities(self, scores: Float[Tensor, "N K *size"]) -> Float[Tensor, "N K *size"]:
        """Return the probabilities of scores."""

    @abstractmethod
    def predicted(self, scores: Float[Tensor, "B K *size"], ids: Int[Tensor, " B"]) -> Bool[Tensor, "B *size"]:
        """Return the pixels that belong to the class or mask of each image."""

    def default(self, output: Any, scores: Float[Tensor, "B K *size"]) -> Int[Tensor, " B"]:
        """Return the class or mask of each image if the target names none.

        Raises
        ------
        TargetError
            If there are several classes.
        """
        if scores.shape[1] > 1:
            raise TargetError(
                f"the model has scores of {scores.shape[1]} classes for each pixel; choose one of them, such as "
                "`Region(0)`"
            )
        return scores.new_zeros(len(scores), dtype=torch.int64)


@dataclass(frozen=True)
class ClassPixels(PixelReader):
    """A tensor of scores with the path `path` in an output, which may be probabilities.

    The scores are [B,K,h,w], or [B,K,d,h,w] for volumes.
    """

    path: Path = ()
    are_probabilities: bool = False

    def __call__(self, output: Any, rows: int) -> Float[Tensor, "N K *size"]:
        """See `PixelReader`."""
        return read(output, self.path, rows, PIXEL_SCORES)

    def probabilities(self, scores: Float[Tensor, "N K *size"]) -> Float[Tensor, "N K *size"]:
        """Return the softmax over classes, or the sigmoid of a single score. Probabilities are returned unchanged."""
        if self.are_probabilities:
            return scores
        scores = at_least_float32(scores)
        return scores.sigmoid() if scores.shape[1] == 1 else scores.softmax(1)

    def predicted(self, scores: Float[Tensor, "B K *size"], ids: Int[Tensor, " B"]) -> Bool[Tensor, "B *size"]:
        """Return the pixels in which the class has the highest score, or the single probability is above 0.5."""
        if scores.shape[1] == 1:
            return scores[:, 0] > (0.5 if self.are_probabilities else 0)
        return scores.argmax(1) == ids.view(-1, *[1] * (scores.ndim - 2))


@dataclass(frozen=True)
class QueryMasks(PixelReader):
    """Mask classification: queries with class logits `classes` [B,Q,K+1] and mask logits `masks` [B,Q,h,w].

    The score of a class is sum_q softmax(classes)_qk sigmoid(masks)_q. The last class means that there is no object, so
    it has no score. The scores are used both as logits and as probabilities.

    Source: Cheng, Schwing and Kirillov, "Per-Pixel Classification is Not All You Need for Semantic Segmentation",
    NeurIPS 2021, section 3.4, semantic inference.
    """

    classes: str
    masks: str

    def __call__(self, output: Any, rows: int) -> Float[Tensor, "N K *size"]:
        """See `PixelReader`."""
        if query_names(output) != (self.classes, self.masks) or len(output[self.masks]) != rows:
            raise wrong_output(output, rows, PIXEL_SCORES)
        classes = at_least_float32(output[self.classes]).softmax(2)[..., :-1]
        return torch.einsum("bqk,bqhw->bkhw", classes, at_least_float32(output[self.masks]).sigmoid())

    def probabilities(self, scores: Float[Tensor, "N K *size"]) -> Float[Tensor, "N K *size"]:
        """Return the scores unchanged."""
        return scores

    def predicted(self, scores: Float[Tensor, "B K *size"], ids: Int[Tensor, " B"]) -> Bool[Tensor, "B *size"]:
        """Return the pixels in which the class has the highest score."""
        return scores.argmax(1) == ids.view(-1, *[1] * (scores.ndim - 2))


@dataclass(frozen=True)
class PromptedMasks(PixelReader):
    """The M masks of one prompt: logits [B,P,M,h,w] with their predicted qualities [B,P,M], as in SAM.

    The mask logits are independent of each other, so the probability of a mask is its sigmoid.

    Source: Kirillov et al., "Segment Anything", ICCV 2023.
    """

    prompt: int = 0

    def __call__(self, output: Any, rows: int) -> Float[Tensor, "N K *size"]:
        """See `PixelReader`."""
        if not has_prompts(output) or len(output[MASKS]) != rows:
            raise wrong_output(output, rows, PIXEL_SCORES)
        masks: Tensor = output[MASKS]
        return masks[:, self.prompt]

    def probabilities(self, scores: Float[Tensor, "N K *size"]) -> Float[Tensor, "N K *size"]:
        """Return the sigmoid."""
        return at_least_float32(scores).sigmoid()

    def predicted(self, scores: Float[Tensor, "B K *size"], ids: Int[Tensor, " B"]) -> Bool[Tensor, "B *size"]:
        """Return the pixels with a positive logit in the mask of each image."""
        return scores[torch.arange(len(scores), device=scores.device), ids] > 0

    def default(self, output: Any, scores: Float[Tensor, "B K *size"]) -> Int[Tensor, " B"]:
        """Return the mask with the highest predicted intersection over union."""
        qualities: Tensor = output[QUALITIES]
        return qualities[:, self.prompt].argmax(1)


def pixel_reader(
    output: Any, rows: int, are_probabilities: Callable[[Path], bool] = lambda path: False, prompt: int | None = None
) -> PixelReader:
    """Return the reader for a segmentation model's output for a number of images.

    Parameters
    ----------
    output
        The output.
    rows
        The number of images.
    are_probabilities
        Returns whether the tensor at a path contains probabilities.
    prompt
        Index of the prompt, if the model segments several prompts of an image.

    Raises
    ------
    TargetError
        If the output contains no scores of pixels, or if the prompt does not exist or must be chosen.
    ModelOutputError
        If several tensors can be the scores, or if they do not have one row per image.
    """
    if has_prompts(output):
        return PromptedMasks(_chosen(prompt, output[MASKS].shape[1]))
    if prompt is not None:
        raise TargetError(f"`prompt` is for models that segment prompts, such as SAM; got {described(output)}")
    names = query_names(output)
    if names is not None:
        return QueryMasks(*names)
    if not any(map(PIXEL_SCORES.fits, tensors_of(output))):
        advice = "masks [B,h,w] need `forward=lambda model, images: model(images)[:, None]`"
        is_mask = any(tensor.ndim == 3 for tensor in tensors_of(output))
        raise TargetError(
            "a region needs a segmentation model, whose output is logits [B,K,h,w], or [B,K,d,h,w] for volumes; "
            f"got {described(output)}" + (f"; {advice}" if is_mask else "")
        )
    path = _largest_head(output, rows)
    path = find(output, rows, PIXEL_SCORES) if path is None else path
    return ClassPixels(path, are_probabilities(path))


def has_class_pixels(output: Any) -> bool:
    """Return whether an output for one image contains scores of classes for each pixel."""
    try:
        return not isinstance(pixel_reader(output, 1), PromptedMasks)
    except (TargetError, ModelOutputError):
        return False


def query_names(output: Any) -> tuple[str, str] | None:
    """Return the names of the class logits and the mask logits of queries in an output, or None."""
    if not isinstance(output, Mapping):
        return None
    for classes, masks in QUERIES:
        a, b = output.get(classes), output.get(masks)
        if (
            isinstance(a, Tensor)
            and isinstance(b, Tensor)
            and (a.ndim, b.ndim) == (3, 4)
            and a.shape[:2] == b.shape[:2]
        ):
            return classes, masks
    return None


def has_prompts(output: Any) -> bool:
    """Return whether an output contains the masks of prompts and their qualities."""
    if not isinstance(output, Mapping):
        return False
    masks, qualities = output.get(MASKS), output.get(QUALITIES)
    return (
        isinstance(masks, Tensor)
        and isinstance(qualities, Tensor)
        and masks.ndim == 5
        and qualities.shape == masks.shape[:3]
    )


def _chosen(prompt: int | None, prompts: int) -> int:
    if prompt is None and prompts > 1:
        raise TargetError(
            f"the model segments {prompts} prompts of each image; choose one of them, such as `Region(prompt=0)`"
        )
    if not 0 <= (prompt or 0) < prompts:
        raise TargetError(f"prompt {prompt} is not a prompt of the output: expected 0 to {prompts - 1}")
    return prompt or 0


def _largest_head(output: Any, rows: int) -> Path | None:
    """Return the path of the scores with the most pixels in a list of outputs, as deep supervision returns.

    It is None if the output is not a list or tuple of scores of the same classes, or if several have the most pixels.
    """
    if not isinstance(output, tuple | list):
        return None
    heads = dict(leaves_of(output))
    if not all(PIXEL_SCORES.fits(head) and len(head) == rows for head in heads.values()):
        return None
    if len({head.shape[1] for head in heads.values()}) != 1:
        return None
    sizes = {path: head.shape[2:].numel() for path, head in heads.items()}
    largest = [path for path, size in sizes.items() if size == max(sizes.values())]
    return largest[0] if len(largest) == 1 else None
