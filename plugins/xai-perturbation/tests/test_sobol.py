"""Sobol attribution against SciPy's estimator, and against the exact indices of a linear model."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import sobol_indices
from torch import Tensor, nn
from torch.quasirandom import SobolEngine

import xai_core as xai
from support.models import GatedCNN, Linear, fused_vit, settled
from xai_core.errors import OptionError

MODELS = {"cnn": (GatedCNN, (24, 18)), "vit": (fused_vit, (32, 32))}
CELLS, DESIGNS, CLASS = 3, 8, 1


def scores(model: nn.Module, image: Tensor, masks: np.ndarray) -> np.ndarray:
    """The probability of the class for each mask of `masks` [N,cells], cell by cell."""
    found = []
    for mask in masks:
        visible = np.empty(image.shape[1:])
        rows, columns = (np.arange(side) * CELLS // side for side in visible.shape)
        for i, row in enumerate(rows):
            visible[i] = mask.reshape(CELLS, CELLS)[row, columns]
        found.append(model((torch.from_numpy(visible) * image)[None]).softmax(1)[0, CLASS])
    return np.array(found)


@torch.no_grad()
@pytest.mark.parametrize("family", MODELS)
def test_equals_the_total_indices_of_scipy_whatever_the_block(family: str) -> None:
    make, size = MODELS[family]
    model, image = settled(make()).double(), torch.randn(3, *size, dtype=torch.float64)
    a, b = np.split(SobolEngine(2 * CELLS**2, scramble=True, seed=4).draw(DESIGNS).double().numpy(), 2, axis=1)
    mixed = np.stack([np.where(np.arange(CELLS**2) == cell, b, a) for cell in range(CELLS**2)])
    f_a, f_b = scores(model, image, a), scores(model, image, b)
    f_ab = np.stack([scores(model, image, masks) for masks in mixed])
    found = sobol_indices(func={"f_A": f_a[None], "f_B": f_b[None], "f_AB": f_ab[:, None]}, n=DESIGNS)
    # SciPy divides by the variance of A and B together, the method by the unbiased variance of A.
    indices = found.total_order.reshape(CELLS, CELLS) * np.var([f_a, f_b]) / np.var(f_a, ddof=1)
    expected = F.interpolate(torch.from_numpy(indices)[None, None], size, mode="bilinear")[0, 0]
    for block in (1, 7, 64):
        explainer = xai.create_explainer("sobol", designs=DESIGNS, cells=CELLS, seed=4)
        ours = xai.Engine(model, block=block).explain(image[None], explainer, CLASS)["sobol"].raw[0]
        torch.testing.assert_close(ours.double(), expected, rtol=1e-5, atol=1e-9)


@torch.no_grad()
def test_the_indices_of_a_linear_model_are_the_shares_of_the_squared_contributions() -> None:
    model, image = Linear((4, 4)), torch.ones(1, 3, 4, 4)
    weights = torch.tensor([[1.0, -2.0], [0.0, 3.0]])
    model.weight[CLASS] = weights.repeat_interleave(2, 0).repeat_interleave(2, 1)
    explainer = xai.create_explainer("sobol", designs=1024, cells=2, score="logit")
    raw = xai.Engine(model, block=1024).explain(image, explainer, CLASS)["sobol"].raw[0]
    torch.testing.assert_close(raw[::3, ::3], weights.square() / weights.square().sum(), rtol=0, atol=0.01)


def test_each_mask_of_a_and_each_replaced_cell_needs_one_forward_pass() -> None:
    model = Linear((8, 8))
    adapter = xai.Engine(model).adapter(torch.zeros(1, 3, 8, 8))
    assert xai.create_explainer("sobol", designs=4, cells=3).forward_passes(adapter) == 1 + 4 * (9 + 1)


def test_too_many_cells_are_rejected() -> None:
    with pytest.raises(OptionError, match="at most 10600 cells, got cells=103 along each side, 10609 in total"):
        xai.Engine(Linear((8, 8))).explain(torch.zeros(1, 3, 8, 8), "sobol:cells=103", CLASS)
