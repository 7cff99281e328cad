"""Extremal perturbation."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Baseline, OptionError, Relevance, SharedModel, check_integer, check_number
from xai_perturbation.blur_pyramid import at_levels, blur_pyramid
from xai_perturbation.masking import Masking
from xai_perturbation.smooth_masks import SmoothMasks

PYRAMID = "pyramid"
CELLS, WIDTH = 32, 3
"""Number of cells along the shorter side of the image, and number of cells in the width of the kernel, by default."""
MOMENTUM = 0.9
GROWTH = 1.0035**800
"""Factor by which the weight of the area grows from the first step to the last."""
EQUAL = 1e-4
"""Resolution to which the values of a mask are rounded before they are ranked."""


class ExtremalPerturbation(Masking):
    """Extremal perturbation: the smooth mask of a fixed area that, shown alone, maximizes the score.

        m_a = argmax_m f(x shown where m = 1) - w mean (sort(m) - r_a)^2
        L   = sum_a m_a

    sort(m) are the values of the mask in increasing order. r_a is 1 for the largest values, whose fraction of the
    image is a, and 0 for the others. f is the target's score, which is a logit for a class. `SmoothMasks` defines
    the masks. Their values are all 1 at first, and are optimized by gradient ascent with momentum. The weight w
    grows by a factor of 16 in total. The result is not random.

    Pixels with equal values share the mean of their ranks, so that the order of pixels has no effect. A mask is zero if
    the gradient of f was zero at all steps.

    For images of 224 pixels, the default cell and width are those of the authors' code. The default areas are those of
    its experiments with PASCAL VOC.

    Source: Fong, Patrick and Vedaldi, "Understanding Deep Networks via Extremal Perturbations and Smooth Masks", ICCV
    2019.

    Parameters
    ----------
    areas
        Fractions of the image, in (0, 1): numbers joined by plus signs, or a sequence.
    steps
        Number of steps of gradient ascent.
    cell
        Distance in pixels of the points at which the mask has a free value. Default: a 32nd of the shorter side of the
        image, rounded up.
    sigma
        Smoothness: width of the kernel of each point in pixels. Default: three cells.
    penalty
        Weight w of the area at the first step, at least 0.
    rate
        Step size, positive.
    baseline
        Replacement of hidden pixels: `pyramid`, or a value that `Masking` accepts. The pyramid consists of images that
        are blurred by Gaussians of up to 20 pixels for images of 224 pixels. The mask selects a blur for each pixel.
    seed
        Random seed of the noise.
    """

    name = "extremal-perturbation"

    def __init__(
        self,
        areas: str | float | Sequence[float] = "0.025+0.05+0.1+0.2",
        steps: int = 800,
        cell: int | None = None,
        sigma: float | None = None,
        penalty: float = 300,
        rate: float = 0.01,
        baseline: Baseline = PYRAMID,
        seed: int = 0,
    ) -> None:
        super().__init__(baseline, seed)
        self.areas = areas
        self.fractions = [check_number("areas", area, above=0, below=1) for area in numbers(areas)]
        self.steps = check_integer("steps", steps, 1)
        self.cell = None if cell is None else check_integer("cell", cell, 1)
        self.sigma = None if sigma is None else check_number("sigma", sigma, above=0)
        self.penalty = check_number("penalty", penalty, minimum=0)
        self.rate = check_number("rate", rate, above=0)

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count one for each step and area."""
        return 1 + self.steps * len(self.fractions)

    def explain(self, captured: xai.Captured) -> Relevance:
        """Sum the masks of all areas."""
        with torch.inference_mode(False):
            parts = self.masks(captured.shared_model(), captured.images.clone())
        return Relevance(parts.sum(1), parts)

    def masks(self, model: SharedModel, images: Float[Tensor, "B C *size"]) -> Float[Tensor, "B A *size"]:
        """Return the optimized mask of each image and area."""
        dtype = torch.promote_types(images.dtype, torch.float32)
        areas = torch.tensor(self.fractions, dtype=dtype).to(images.device, non_blocking=True)
        by_pyramid = isinstance(self.baseline, str) and self.baseline == PYRAMID
        hidden = images if by_pyramid else self.hidden(images)
        masks = []
        for block in torch.arange(len(images) * len(areas), device=images.device).split(max(1, model.block)):
            of = block // len(areas)
            shown, replaced = images[of].to(dtype), hidden[of].to(dtype)
            levels = blur_pyramid(shown) if by_pyramid else torch.stack([replaced, shown])
            masks.append(self.optimized(Objective(model, of, areas[block % len(areas)], levels)))
        return torch.cat(masks).unflatten(0, (len(images), len(areas)))

    def optimized(self, objective: "Objective") -> Float[Tensor, "n *size"]:
        """Return the masks after all steps."""
        size = tuple(objective.levels.shape[3:])
        cell = self.cell or math.ceil(min(size[-2:]) / CELLS)
        masks = SmoothMasks(size, cell, self.sigma or WIDTH * cell)
        values = velocity = objective.areas.new_ones(len(objective.of), *masks.grid)
        has_evidence = torch.zeros_like(objective.of, dtype=torch.bool)
        for step in range(self.steps):
            slope, gradient = objective.gradients(masks, values, self.penalty * GROWTH ** (step / self.steps))
            velocity = gradient if step == 0 else MOMENTUM * velocity + (1 - MOMENTUM) * gradient
            values = (values + self.rate * velocity).clamp(0, 1)
            has_evidence |= slope.flatten(1).any(1)
        return masks.inside(masks(values)) * has_evidence.view(-1, *[1] * len(size))


class Objective(NamedTuple):
    """The objective of masks that are optimized together.

    Attributes
    ----------
    model
        Scores images.
    of
        The index of the image of each mask.
    areas
        The area of each mask.
    levels
        The images of each mask, from hidden to shown.
    """

    model: SharedModel
    of: Int[Tensor, " n"]
    areas: Float[Tensor, " n"]
    levels: Float[Tensor, "L n C *size"]

    def gradients(
        self, masks: SmoothMasks, values: Float[Tensor, "n *grid"], weight: float
    ) -> tuple[Float[Tensor, "n *size"], Float[Tensor, "n *grid"]]:
        """Return the gradient of the score for the masks, and that of the objective for the values of their grids."""
        with torch.enable_grad():
            values = values.clone().requires_grad_()
            mask = masks(values)
            leaf = masks.inside(mask.detach()).requires_grad_()
            [slope] = torch.autograd.grad(self.model(at_levels(self.levels, leaf), self.of).sum(), leaf)
            of_area = self.area_gradient(mask.detach(), leaf[0].numel()) * weight
            [gradient] = torch.autograd.grad([masks.inside(mask), mask], values, [slope, of_area])
        return slope, gradient

    def area_gradient(self, masks: Float[Tensor, "n *padded"], pixels: int) -> Float[Tensor, "n *padded"]:
        """Return the gradient of the term for the area, for images with this number of pixels.

        The term moves the pixels with the largest values to 1, and the others to 0. It moves equal values alike.
        """
        flat = masks.flatten(1)
        values = (flat / EQUAL).round()
        ordered = values.sort(1).values
        below, through = (torch.searchsorted(ordered, values, right=right) for right in (False, True))
        zeros = flat.shape[1] - self.areas[:, None] * pixels
        ones = (through - zeros).clamp_min(0) - (below - zeros).clamp_min(0)
        return 2 * (ones / (through - below) - flat).view_as(masks) / flat.shape[1]


def numbers(areas: str | float | Sequence[float]) -> list[float]:
    """Return the numbers in an option."""
    if isinstance(areas, str):
        try:
            return [float(number) for number in areas.split("+")]
        except ValueError:
            raise OptionError(f"areas must be numbers joined by plus signs, got {areas!r}") from None
    return [areas] if isinstance(areas, int | float) else [*areas]
