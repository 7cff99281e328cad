"""RISE."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Baseline, baseline_images
from xai_perturbation.masked import masked_scores
from xai_perturbation.options import chance, kind_of_score, seed_of, whole


class RISE(xai.Explainer):
    """RISE: the mean of random masks, each weighted by the score of the image seen through it.

    L = 1 / (N p) sum_i f(x * M_i) M_i (eq. 6, where E[M] = p). A mask is an s x s grid of cells, each shown with
    probability p, resized bilinearly to (s + 1) times C = ceil(H / s), ceil(W / s) pixels and cropped to the image at a
    random place, up to C - 1 pixels from the corner (section 3.2). Beyond the centers of its outer cells the grid is
    mirrored, as in the authors' code, and C is rounded up as there, where the paper rounds down. A mask multiplies the
    normalized image.

    s = 7 and p = 0.5 are those of the paper's experiments, and N = 4000 that for VGG16; for ResNet-50 it takes 8000.

    The masks are the same for every image, on every device and for any size of a block.

    Source: Petsiuk, Das and Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", BMVC 2018.

    Parameters
    ----------
    masks
        N, how many.
    cells
        s, how many cells a side of the grid has; at least 2.
    probability
        p, the chance of a cell to be shown; between 0 and 1.
    score
        f: `probability` (softmax) or `logit`.
    baseline
        What is seen where nothing is shown: `zero`, as in the paper, `mean`, `blur`, `noise`, or a tensor that
        broadcasts to [B,C,H,W].
    seed
        Seed of the masks, and of noise.
    """

    name = "rise"

    def __init__(
        self,
        masks: int = 4000,
        cells: int = 7,
        probability: float = 0.5,
        score: str = "probability",
        baseline: Baseline = "zero",
        seed: int = 0,
    ) -> None:
        self.masks = whole("masks", masks, 1)
        self.cells = whole("cells", cells, 2)
        self.probability = chance("probability", probability)
        self.score = kind_of_score(score)
        self.baseline = baseline
        self.seed = seed_of(seed)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Nothing but scores."""
        return xai.Needs()

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """One for each mask."""
        return 1 + self.masks

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B H W"]:
        """Average the masks by what the model says of the image seen through them."""
        return captured.once(self, lambda: self.relevance(captured))[captured.index]

    def relevance(self, captured: xai.Captured) -> Float[Tensor, "V B H W"]:
        """The maps for all targets of the pass, which share the masked images."""
        images, cells = captured.images, self.cells
        batch, _, height, width = images.shape
        kind = torch.promote_types(images.dtype, torch.float32)
        numbers = torch.Generator().manual_seed(self.seed)

        def masks(part: slice) -> Float[Tensor, "n H W"]:
            # Drawn one by one on the host, so that it does not matter how many at a time, and sent together.
            drawn = torch.rand(part.stop - part.start, 2 + cells**2, generator=numbers, dtype=torch.float64)
            starts = drawn[:, :2] * torch.tensor([pixels(cells, height), pixels(cells, width)])
            sent = torch.cat([starts.floor(), drawn[:, 2:] < self.probability], 1).to(kind)
            sent = sent.to(images.device, non_blocking=True)
            rows, columns = cropped(cells, height, sent[:, 0]), cropped(cells, width, sent[:, 1])
            return rows @ sent[:, 2:].unflatten(1, (cells, cells)) @ columns.mT

        blank = baseline_images(self.baseline, images, self.seed)
        weighted = images.new_zeros(captured.model_score.targets, batch, height, width, dtype=kind)
        for some, scores in masked_scores(captured.model_score, blank, images, masks, self.masks, self.score):
            weighted += torch.tensordot(scores.to(kind), some, 1)
        return weighted / (self.masks * self.probability)


def pixels(cells: int, side: int) -> int:
    """How many pixels of a side of the image a cell takes, before the line of cells grows by one of them."""
    return math.ceil(side / cells)


def cropped(cells: int, side: int, start: Float[Tensor, " n"]) -> Float[Tensor, "n side cells"]:
    """How much of each cell of a line is in each of its pixels: bilinear resizing, and a crop from pixel `start` on."""
    resized = (cells + 1) * pixels(cells, side)
    steps = torch.arange(side, device=start.device)
    at = (start[:, None] + steps + 0.5) * (cells / resized) - 0.5  # 0 is the center of the first cell
    last = cells - 1
    mirrored = last - (last - at.abs()).abs()
    return (1 - (mirrored[..., None] - torch.arange(cells, device=start.device)).abs()).relu()
