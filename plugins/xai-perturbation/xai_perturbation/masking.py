"""Base classes of methods that hide parts of the images by masks."""

from abc import abstractmethod
from collections.abc import Callable, Iterator

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import SCORE_KINDS, Baseline, baseline_images, check_choice, check_seed, masked_scores


class Masking(xai.Explainer):
    """A method that hides parts of the images.

    A mask has one value in [0, 1] for each pixel. 1 shows the pixel, and 0 replaces it by the baseline.

    Parameters
    ----------
    baseline
        Replacement of hidden pixels: `zero`, `mean`, `blur`, `min`, `max`, `noise`, or a tensor that broadcasts to
        the images. In the normalized space, `zero` is the mean color of the training data.
    seed
        Random seed of the masks, if they are random, and of the noise.
    """

    volumes = True

    def __init__(self, baseline: Baseline, seed: int) -> None:
        self.baseline = baseline
        self.seed = check_seed(seed)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request nothing: the method uses scores only."""
        return xai.Needs()

    def hidden(self, images: Float[Tensor, "B C *size"]) -> Float[Tensor, "B C *size"]:
        """Return the images in which every pixel is hidden."""
        return baseline_images(self.baseline, images, self.seed)


class MaskScoring(Masking):
    """A method whose map depends on the scores of the images under masks, and on nothing else.

    The masks are the same for every image, on every device and for any block size. All targets share the masked images.

    Parameters
    ----------
    score
        f: `probability` (softmax) or `logit`. It has no effect on targets that are functions.
    baseline, seed
        See `Masking`.
    """

    def __init__(self, score: str, baseline: Baseline, seed: int) -> None:
        super().__init__(baseline, seed)
        self.score = check_choice("score", score, SCORE_KINDS)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B *size"]:
        """Return the maps of one target, and keep those of the others."""
        return captured.once(self, lambda: self.relevance(captured))[captured.index]

    @abstractmethod
    def relevance(self, captured: xai.Captured) -> Float[Tensor, "V B *size"]:
        """Return the maps for all V targets of the pass, which share the masked images."""

    def scores(
        self, captured: xai.Captured, masks: Callable[[slice], Float[Tensor, "n *size"]], count: int
    ) -> Iterator[tuple[Float[Tensor, "n *size"], Float[Tensor, "V B n"]]]:
        """Yield masks in blocks, with the scores of all images under the masks of the block.

        `masks` is called with consecutive slices of `range(count)`, and returns the masks of these indices.
        """
        images = captured.images
        return masked_scores(captured.model_score, self.hidden(images), images, masks, count, self.score)
