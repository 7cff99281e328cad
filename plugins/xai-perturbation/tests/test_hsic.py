"""HSIC attribution against the trace of its definition, and its meaning for a single visible cell."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import xai_core as xai
from support.models import GatedCNN, Linear, fused_vit, settled
from support.volume_models import SmallCNN3d, built, two_clips

MODELS = {"cnn": (GatedCNN, (24, 18)), "vit": (fused_vit, (32, 32))}
CELLS, MASKS, CLASS = 3, 12, 1


def drawn(count: int, cells: int, seed: int) -> np.ndarray:
    """Masks in which each cell is visible in a random half."""
    numbers = torch.rand(count, cells, generator=torch.Generator().manual_seed(seed))
    return (numbers.argsort(0) < count // 2).double().numpy()


def criterion(visible: np.ndarray, scores: np.ndarray) -> float:
    """The trace of K H L H for one cell."""
    n = len(scores)
    distance = np.abs(np.subtract.outer(scores, scores))
    k = 0.5 - np.subtract.outer(visible, visible) ** 2
    width = np.sort(distance.ravel())[(n * n - 1) // 2]
    kernel = np.exp(-(distance**2) / (2 * width**2))
    h = np.eye(n) - np.ones((n, n)) / n
    return float(np.trace(k @ h @ kernel @ h)) / (n - 1) ** 2


def replica(model: nn.Module, image: Tensor, masks: np.ndarray) -> Tensor:
    """The map of one image, mask by mask."""
    size = image.shape[1:]
    scores = []
    for mask in masks.reshape(-1, *[CELLS] * len(size)):
        visible = mask[np.ix_(*(np.arange(side) * CELLS // side for side in size))]
        scores.append(model((torch.from_numpy(visible).to(image) * image)[None]).softmax(1)[0, CLASS].item())
    cells = torch.tensor([criterion(visible, np.array(scores)) for visible in masks.T]).double()
    mode = "bilinear" if len(size) == 2 else "trilinear"
    return F.interpolate(cells.view(1, 1, *[CELLS] * len(size)), size, mode=mode)[0, 0]


@torch.no_grad()
@pytest.mark.parametrize("family", MODELS)
def test_equals_its_definition_whatever_the_block(family: str) -> None:
    make, size = MODELS[family]
    model, images = settled(make()).double(), torch.randn(2, 3, *size, dtype=torch.float64)
    expected = torch.stack([replica(model, image, drawn(MASKS, CELLS**2, 5)) for image in images])
    for block in (1, 7, 64):
        explainer = xai.create_explainer("hsic", masks=MASKS, cells=CELLS, seed=5)
        ours = xai.Engine(model, block=block).explain(images, explainer, CLASS)["hsic"].raw
        torch.testing.assert_close(ours.double(), expected, rtol=1e-6, atol=1e-9)


@torch.no_grad()
def test_volumes_have_cells_along_their_depth() -> None:
    model, clips = built(SmallCNN3d), two_clips()
    [maps] = xai.Engine(model).explain(clips, f"hsic:masks={MASKS},cells={CELLS}", CLASS).values()
    expected = torch.stack([replica(model, clip, drawn(MASKS, CELLS**3, 0)) for clip in clips])
    torch.testing.assert_close(maps.raw.double(), expected, rtol=2e-3, atol=1e-6)


@torch.no_grad()
def test_only_the_cell_that_the_score_depends_on_stands_out() -> None:
    model, image = Linear((4, 4)), torch.ones(1, 3, 4, 4)
    model.weight[CLASS] = 0
    model.weight[CLASS, :, 2:, :2] = 1.0
    explainer = xai.create_explainer("hsic", cells=2, score="logit")
    raw = xai.Engine(model, block=512).explain(image, explainer, CLASS)["hsic"].raw[0]
    others = raw[[0, 0, 3], [0, 3, 3]]
    # The criterion of an independent cell is of the order of 1/n.
    assert others.max() < 10 / 500 * raw[3, 0]
