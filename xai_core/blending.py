"""Model scores of images in which some pixels are blended with those of other images, computed in blocks."""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xai_core.model_scorer import ModelScorer


def blended_scores(
    model_score: ModelScorer,
    start: Float[Tensor, "B C *size"],
    finish: Float[Tensor, "B C *size"],
    replaced: Callable[[slice, slice], Bool[Tensor, "_ S *size"]],
    count: int,
    kind: str,
) -> Float[Tensor, "B S"]:
    """Return the scores of `count` variants of each image, in which pixels of `finish` replace pixels of `start`.

    Parameters
    ----------
    model_score
        Scores images for the target.
    start, finish
        The images, and their replacements.
    replaced
        Called with a slice of the images and a slice of the variants. Returns which pixels are replaced,
        [images,variants,H,W], or [1,variants,H,W] if they are the same for all images.
    count
        Number of variants S.
    kind
        `logit` or `probability`.
    """
    numbers = torch.arange(len(start), device=start.device)
    scores = [start.new_empty(0)]
    for images, variants in model_score.tiles(count):
        weight = replaced(images, variants)[:, :, None].to(start.dtype)
        blended = torch.lerp(start[images, None], finish[images, None], weight)  # [images,variants,C,H,W]
        of = numbers[images].repeat_interleave(blended.shape[1])
        scores.append(model_score(blended.flatten(0, 1), of, kind))
    return torch.cat(scores).view(len(start), count)


def masked_scores(
    model_score: ModelScorer,
    start: Float[Tensor, "B C *size"],
    finish: Float[Tensor, "B C *size"],
    masks: Callable[[slice], Float[Tensor, "n *size"]],
    count: int,
    kind: str,
) -> Iterator[tuple[Float[Tensor, "n *size"], Float[Tensor, "V B n"]]]:
    """Yield masks in blocks, with the scores of all images under the masks of the block, for all V targets.

    The `count` masks are the same for all images.

    Parameters
    ----------
    model_score
        Scores images for the targets.
    start, finish
        The images to blend. A pixel has the value of `start` where the mask is 0, and of `finish` where the mask is 1.
        For masks between 0 and 1, the values are interpolated linearly.
    masks
        Called with consecutive slices of `range(count)`. Returns the masks of these indices, [n,H,W] in [0,1].
    count
        Number of masks.
    kind
        `logit` or `probability`.
    """
    batch, first = len(start), 0
    while first < count:
        # as many masks as fit into one block for the whole batch, but at least one
        indices = slice(first, min(first + max(1, model_score.block // batch), count))
        block = masks(indices)
        blended = torch.lerp(start[:, None], finish[:, None], block[:, None].to(start.dtype))  # [B,n,C,H,W]
        yield block, model_score.each(blended.flatten(0, 1), kind=kind).unflatten(1, (batch, -1))
        first = indices.stop
