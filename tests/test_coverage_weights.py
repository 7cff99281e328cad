"""The random weights of the coverage benchmark let deep features respond where the image changes, as in training."""

import torch
import torch.nn.functional as F
from torch import nn

from support.coverage.case import LARGEST, LONGEST, WIDTHS, Built, prepare, shorten
from support.oracles import Fit, places_of

SIDE = 26


def fit(blocks: list[nn.Module], width: float, moved: int = 0) -> Fit:
    """Return where the features of a network with one cell per 2 x 2 pixels respond."""
    built = Built(nn.Sequential(nn.Conv2d(3, 16, 2, 2), *blocks), (SIDE, SIDE))
    prepare(built, width)
    built.model.eval()
    return places_of(lambda images: F.pad(built(images), (moved, -moved)), (SIDE, SIDE), lattice=4)


def blurring() -> list[nn.Module]:
    """Return layers through which each of the 13 x 13 cells sees all of the image."""
    torch.manual_seed(0)
    return [nn.Sequential(nn.Conv2d(16, 16, 9, padding="same", groups=16), nn.BatchNorm2d(16)) for _ in range(16)]


def test_narrow_kernels_show_the_places_of_a_deep_network() -> None:
    wide, narrow = WIDTHS
    assert not fit(blurring(), wide).right
    assert fit(blurring(), narrow).right
    assert not fit(blurring(), narrow, moved=1).right


def test_padding_on_one_side_moves_no_cell() -> None:
    """Each layer has as many cells as its input, so each cell stands for the cell of the input in the same place."""
    torch.manual_seed(0)
    padded = [nn.Sequential(nn.ZeroPad2d((1, 0, 1, 0)), nn.Conv2d(16, 16, 2)) for _ in range(4)]
    assert fit([*padded], WIDTHS[1]).right
    assert not fit([*padded], WIDTHS[1], moved=-1).right


def test_only_very_large_models_are_shortened() -> None:
    for width, kept in ((1000, 8), (LARGEST // 1000, LONGEST)):
        with torch.device("meta"):
            equal = nn.Sequential(*(nn.Linear(width, 1000) for _ in range(8)))
            others = nn.Sequential(*(nn.Linear(width, 10 + number) for number in range(8)))
        shorten(nn.Sequential(equal, others))
        assert (len(equal), len(others)) == (kept, 8)
