"""TIS."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

import xai_core as xai
from xai_core.plugin import SCORE_KINDS, UnsuitableError, check_choice, check_integer, check_number, check_seed


class Subsets(NamedTuple):
    """The cells of M subsets of tokens of each image, and for each subset and cell whether it is kept."""

    cells: Int[Tensor, "B M k"]
    masks: Float[Tensor, "B M n"]


class TIS(xai.Explainer):
    """TIS (Transformer Input Sampling): the mean score of the subsets of patch tokens that contain a token.

        L_j = sum_m f(S_m) [j in S_m] / sum_m [j in S_m]

    f(S) is the score if only the patch tokens in S enter the transformer blocks. The other tokens are dropped, so
    neither a color nor a gray level replaces them. A subset contains the tokens with the highest values of one
    centroid. The centroids are those of k-means over all channels of all blocks. A channel is a vector with one value
    per patch token.

    Centroids are initialized with channels that are drawn at random, the same for every image. If there are fewer
    channels than subsets, each channel is one centroid. The relevance of tokens that no subset contains is zero.

    Source: Englebert, Stassin, Nanfack, Mahmoudi, Siebert, Cornu and De Vleeschouwer, "Explaining through Transformer
    Input Sampling", ICCV Workshops 2023.

    Parameters
    ----------
    masks
        Number of subsets M.
    ratio
        Fraction of the patch tokens in each subset, in (0, 1).
    score
        f: `probability` (softmax), as in the authors' code, or `logit`.
    iterations
        Number of iterations of k-means.
    seed
        Seed of the initial centroids.
    """

    name = "tis"

    def __init__(
        self, masks: int = 1024, ratio: float = 0.5, score: str = "probability", iterations: int = 100, seed: int = 0
    ) -> None:
        self.masks = check_integer("masks", masks, minimum=1)
        self.ratio = check_number("ratio", ratio, above=0, below=1)
        self.score = check_choice("score", score, SCORE_KINDS)
        self.iterations = check_integer("iterations", iterations, minimum=0)
        self.seed = check_seed(seed)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request the tokens of all blocks, after checking that the blocks can run on subsets of them."""
        adapter.require_token_subsets(self.name)
        if self._kept(adapter) < 1:
            raise UnsuitableError(
                f"tis with ratio={self.ratio} keeps none of the {adapter.blocks[0].cells} patch tokens of this model. "
                "Choose a larger ratio"
            )
        return xai.Needs(activations=tuple(block.layer for block in adapter.blocks))

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count the fraction of the tokens for each subset, and two passes on all tokens."""
        channels = sum(block.channels for block in adapter.blocks)
        return 2 + round(min(self.masks, channels) * self.ratio)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B h w"]:
        """Average the scores of the subsets that contain each token."""
        return captured.once(self, lambda: self._maps(captured))[captured.index]

    def _kept(self, adapter: xai.ModelAdapter) -> int:
        return int(self.ratio * adapter.blocks[0].cells)

    def _maps(self, captured: xai.Captured) -> Float[Tensor, "V B h w"]:
        """Return the maps of all V targets of the pass."""
        subsets = self._subsets(captured)
        batch, count, _ = subsets.cells.shape
        scorer = captured.subset_forward()
        indices = torch.arange(batch * count, device=subsets.cells.device)
        scores = torch.cat(
            [
                scorer.each(subsets.cells.flatten(0, 1)[indices[block]], indices[block] // count, self.score)
                for block in scorer.blocks(len(indices))
            ],
            1,
        ).unflatten(1, (batch, count))
        sums = torch.einsum("vbm,bmn->vbn", scores, subsets.masks.to(scores))
        coverage = subsets.masks.sum(1).clamp_min(1).to(scores)
        return (sums / coverage).unflatten(2, captured.adapter.blocks[0].grid)

    def _subsets(self, captured: xai.Captured) -> Subsets:
        """Return the subsets of each image."""
        channels = torch.cat([captured.activation(layer).flatten(2) for layer in captured.layers], 1)  # [B,K,n]
        centroids = torch.stack([self._centroids(each) for each in channels])
        cells = centroids.topk(self._kept(captured.adapter), 2).indices
        return Subsets(cells, torch.zeros_like(centroids).scatter(2, cells, 1))

    def _centroids(self, channels: Float[Tensor, "K n"]) -> Float[Tensor, "M n"]:
        """Return the centroids of k-means, which keep their value if no channel belongs to them."""
        if len(channels) <= self.masks:
            return channels
        order = torch.randperm(len(channels), generator=torch.Generator().manual_seed(self.seed))
        centroids = channels[order[: self.masks].to(channels.device, non_blocking=True)]
        for _ in range(self.iterations):
            closest = torch.cdist(channels, centroids).argmin(1)
            members = channels.new_zeros(len(channels), self.masks).scatter(1, closest[:, None], 1)
            size = members.sum(0)[:, None]
            centroids = torch.where(size > 0, members.mT @ channels / size.clamp_min(1), centroids)
        return centroids
